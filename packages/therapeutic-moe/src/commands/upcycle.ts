import { type BackendChoice, useBackend } from '@therapeutic-moe/backend';
import {
  countParameters,
  type DomainPrompt,
  type ModelConfig,
  readModelConfig,
  therapeuticDomains,
  type UpcycledCheckpoint,
  upcycleDirectory,
  upcycledConfig,
} from '@therapeutic-moe/model';
import { Tokenizer } from '@therapeutic-moe/tokenizer';
import { defineCommand } from 'citty';
import { domainPrompts } from '../domain-prompts.js';
import { fillFolder } from '../fill-folder.js';
import { copyGenerationConfig, copyTokenizer } from '../tokenizer-files.js';
import { dtypeName, readDtype } from './dtypes.js';
import { errorLogger, modelOptions } from './model-options.js';
import { readIds, readNumber } from './numbers.js';
import { type DomainText, readDomainTexts } from './route-rows.js';

/** Most bytes of a weight file, as transformers cuts them. */
const SHARD_BYTES = 5e9;

/** Makes a Mixture of Experts of a dense checkpoint. */
export const upcycleCommand = defineCommand({
  meta: { name: 'upcycle', description: 'Turn a dense checkpoint into a Mixture of Experts that starts equal to it.' },
  args: {
    base: { type: 'string', required: true, description: 'dense checkpoint folder', valueHint: 'DIR' },
    output: { type: 'string', required: true, description: 'a new folder', valueHint: 'DIR' },
    experts: { type: 'string', description: 'experts of each mixture', default: '4' },
    'top-k': { type: 'string', description: 'experts that a token visits', default: '2' },
    layers: { type: 'string', required: true, description: 'layers that become mixtures, such as 10,20,30,39, or all' },
    'expert-hidden': {
      type: 'string',
      description: 'neurons of an expert, fewer than the dense layer has: then the output differs from the start',
    },
    router: {
      type: 'string',
      description:
        'JSONL with domain and text to make routers from, or random; default sentences of the four therapeutic domains',
      valueHint: 'FILE',
    },
    domains: { type: 'string', description: 'names of the experts; default the domains of the router, as they come' },
    noise: { type: 'string', description: 'move every expert but the first: 0.01 is a hundredth of its weights' },
    seed: { type: 'string', description: 'of random routers, neurons dealt at random, and noise', default: '1' },
    dtype: { type: 'string', description: 'float32, float16 or bfloat16; default as the base is stored' },
    backend: {
      ...modelOptions.backend,
      description: `${modelOptions.backend.description}; --router random without noise needs none`,
    },
    json: { type: 'boolean', description: 'print one JSON object' },
  },
  async run({ args }) {
    const base = await readModelConfig(args.base);
    const texts = await readTexts(args);
    const mixture = readMixture(args, texts, base);
    upcycledConfig(base, mixture); // what it refuses, it refuses before a backend starts
    const seed = readNumber('seed', args.seed, { min: 0, max: 2 ** 31 - 1, whole: true });
    const noise = args.noise === undefined ? undefined : readNoise(args.noise);
    const dtype = args.dtype === undefined ? undefined : readDtype(args.dtype);
    const prompts = texts && (await encode(texts, mixture.domains!, args.base));
    const computes = prompts !== undefined || noise !== undefined; // else no more than the host's random numbers
    await useBackend(computes ? (args.backend as BackendChoice) : 'cpu', { logger: errorLogger });
    const made = await fillFolder(args.output, async () => {
      const options = { mixture, prompts, noiseDeviation: noise, seed, dtype, maxShardBytes: SHARD_BYTES };
      const written = await upcycleDirectory(args.base, args.output, options);
      await copyTokenizer(args.base, args.output);
      await copyGenerationConfig(args.base, args.output);
      return written;
    });
    const leftOut = (texts?.length ?? 0) - (prompts?.length ?? 0);
    const report = describe(made, { ...(noise !== undefined && { noise }), ...(leftOut > 0 && { leftOut }) });
    console.log(args.json ? JSON.stringify(report) : asLines(report).join('\n'));
  },
});

/** What was made, as `--json` prints it. */
interface UpcycleReport {
  readonly parameters: { readonly before: number; readonly after: number; readonly activePerToken: number };
  readonly dtype: string;
  readonly experts: number;
  /** Of them, those that a token visits. */
  readonly topK: number;
  /** Neurons of an expert, and of the feed-forward that it was made from. */
  readonly neurons: { readonly expert: number; readonly dense: number };
  readonly domains?: readonly string[];
  readonly noise?: number;
  /** Rows of the router's file that are of domains without an expert. */
  readonly leftOut?: number;
  readonly layers: UpcycledCheckpoint['layers'];
}

async function readTexts({
  router,
  domains,
}: {
  router?: string;
  domains?: string;
}): Promise<DomainText[] | undefined> {
  if (router === 'random') return undefined;
  if (router !== undefined) return withEveryDomain(await readDomainTexts(router), namesIn(domains), router);
  const unknown = namesIn(domains)?.find((name) => !Object.hasOwn(domainPrompts, name));
  if (unknown !== undefined) {
    throw new Error(
      `--domains: there are no sentences of '${unknown}' here, only of ${therapeuticDomains.join(', ')}; give some with --router FILE, or use --router random.`,
    );
  }
  return Object.entries(domainPrompts).flatMap(([domain, all]) => all.map((text) => ({ domain, text })));
}

function namesIn(domains: string | undefined): string[] | undefined {
  return domains?.split(',').map((name) => name.trim());
}

/** @throws when a file has no text of a domain that an expert is to stand for. */
function withEveryDomain(texts: DomainText[], names: readonly string[] | undefined, file: string): DomainText[] {
  const found = [...new Set(texts.map(({ domain }) => domain))];
  const missing = names?.find((name) => !found.includes(name));
  if (missing === undefined) return texts;
  throw new Error(`--domains: ${file} has no row of '${missing}', only of ${found.join(', ')}.`);
}

function readNoise(text: string): number {
  const noise = text.trim() === '' ? Number.NaN : Number(text);
  if (noise > 0 && noise <= 1000) return noise;
  throw new Error(`--noise must be a number above 0, 1000 at most, got '${text}'; leave it out for none.`);
}

function readMixture(
  args: { experts: string; 'top-k': string; layers: string; 'expert-hidden'?: string; domains?: string },
  texts: readonly DomainText[] | undefined,
  { intermediateSize }: ModelConfig,
) {
  const count = (option: 'experts' | 'top-k' | 'expert-hidden', max = 2 ** 31 - 1) =>
    readNumber(option, args[option]!, { min: 1, max, whole: true });
  const numExperts = count('experts');
  const domains = namesIn(args.domains) ?? (texts && [...new Set(texts.map(({ domain }) => domain))]);
  if (domains && domains.length !== numExperts) {
    throw new Error(
      `--experts is ${numExperts}, but there are ${domains.length} domains: ${domains.join(', ')}; name one for each expert, with prompts of it in --router FILE, or use --router random.`,
    );
  }
  return {
    numExperts,
    numExpertsPerTok: count('top-k'),
    ...(args.layers !== 'all' && { layers: readIds('layers', args.layers) }),
    ...(args['expert-hidden'] !== undefined && { moeIntermediateSize: count('expert-hidden', intermediateSize) }),
    ...(domains && { domains }),
  };
}

/** Texts as tokens, each begun as `route` begins it; those of domains without an expert are left out. */
async function encode(texts: readonly DomainText[], domains: readonly string[], base: string): Promise<DomainPrompt[]> {
  const tokenizer = await Tokenizer.fromDirectory(base);
  const start = tokenizer.bosTokenId ?? tokenizer.eosTokenId;
  if (start === undefined)
    throw new Error(
      `${base}: the tokenizer has neither a bos nor an eos token to start a text with; use --router random.`,
    );
  return texts.flatMap(({ domain, text }) => {
    const expert = domains.indexOf(domain);
    return expert < 0 ? [] : [{ domain: expert, ids: [start, ...tokenizer.encode(text)] }];
  });
}

function describe(
  { base, config, dtype, layers }: UpcycledCheckpoint,
  asked: Pick<UpcycleReport, 'noise' | 'leftOut'>,
): UpcycleReport {
  const {
    numExperts: experts,
    numExpertsPerTok: topK,
    domains,
    moeIntermediateSize = config.intermediateSize,
  } = config.mixture!;
  const { total: after, activePerToken } = countParameters(config);
  return {
    parameters: { before: countParameters(base).total, after, activePerToken },
    dtype: dtypeName(dtype),
    experts,
    topK,
    neurons: { expert: moeIntermediateSize, dense: base.intermediateSize },
    ...(domains && { domains }),
    ...asked,
    layers,
  };
}

function asLines(report: UpcycleReport): string[] {
  const { parameters, experts, topK, neurons, domains, leftOut, layers, dtype } = report;
  const chance = `by chance ${percent(1 / experts)}`;
  return [
    ...layers.map(({ layer, agreement, difference }) =>
      [
        `layer ${String(layer).padStart(3)}`,
        `${experts} experts of ${grouped(neurons.expert)} neurons`,
        agreement === undefined
          ? 'routed at random'
          : `router agrees with ${percent(agreement)} of the prompts' tokens (${chance})`,
        ...(difference === undefined ? [] : [`output differs by ${percent(difference)}`]),
      ].join(', '),
    ),
    ...(domains ? [`domains           ${domains.join(', ')}`] : []),
    ...(leftOut === undefined
      ? []
      : [`left out          ${grouped(leftOut)} row${leftOut === 1 ? '' : 's'} of other domains`]),
    `parameters        ${grouped(parameters.before)} before, ${grouped(parameters.after)} after, ${dtype}`,
    `active per token  ${grouped(parameters.activePerToken)}`,
    `output            ${startOf(report)}`,
    ...(topK === 1 && experts > 1 ? [`training          ${ofOneExpert}`] : []),
  ];
}

const ofOneExpert =
  'the weight of the one expert of a token is always 1, so the loss of the next token does not train routers; domainSupervision or a loss of balance does, or --top-k 2';

/** How far the new model's output is from the dense one's. */
function startOf({ neurons, noise, layers }: UpcycleReport): string {
  if (neurons.expert < neurons.dense) {
    const measured = layers.some(({ difference }) => difference !== undefined);
    const where = measured ? 'by what the layers say' : 'by how much was not measured, without prompts';
    return `not the dense model's: experts have ${grouped(neurons.expert)} of ${grouped(neurons.dense)} neurons; it differs ${where}. Train before use.`;
  }
  if (noise !== undefined) return `near the dense model's: every expert but the first was moved by noise of ${noise}`;
  return "the dense model's, whatever the routers choose: experts are equal and their weights sum to 1";
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}
