import {
  anyListOf,
  anything,
  type Field,
  listOf,
  number,
  oneOf,
  optional,
  positive,
  recordOf,
  refuse,
  section,
  text,
  textOr,
  whole,
} from './config-fields.js';

const backends = ['auto', 'tensorflow', 'webgpu', 'wasm', 'cpu'] as const;

const model = section({
  /** A preset to start from random weights with. */
  preset: optional(text, undefined),
  /** Changes to the preset's config; checked where the model is built. */
  overrides: optional(recordOf(anything), undefined),
  /** A model folder to go on from. */
  from: optional(text, undefined),
  /** What its matrices are held as while an adapter is trained; all but float32 are frozen, in fewer bytes. */
  weights: optional(oneOf('float32', 'bfloat16', 'float16', 'int8'), undefined),
});

type Initialisation = true | 'gaussian' | 'pissa' | `pissa_niter_${number}` | 'olora';

const initialisation: Field<Initialisation> = (value, name) =>
  value === true || (typeof value === 'string' && /^(?:gaussian|pissa|pissa_niter_\d{1,3}|olora)$/.test(value))
    ? (value as Initialisation)
    : refuse(name, 'one of true, gaussian, pissa, pissa_niter_K with a number K of iterations, olora', value);

const lora = section({
  /** Rank. */
  r: whole(1),
  /** Scale: the update is multiplied by loraAlpha / r. */
  loraAlpha: positive,
  /** Dropout on the adapter's input while training. */
  loraDropout: optional(number(0, 0.999), 0),
  /** Linears that get an adapter: names, one regular expression, or "all-linear". Default q_proj, k_proj, v_proj, o_proj. */
  targetModules: optional(textOr(anyListOf(text)), ['q_proj', 'k_proj', 'v_proj', 'o_proj'] as readonly string[]),
  /** Stacks of experts that get an adapter, such as "experts.gate_up_proj". */
  targetParameters: optional(listOf(text), undefined),
  /** Ranks of their own, by regular expressions for the end of a linear's path. */
  rankPattern: optional(recordOf(whole(1)), undefined),
  /** Alphas of their own, likewise. */
  alphaPattern: optional(recordOf(positive), undefined),
  /** Scale by loraAlpha / sqrt(r) instead. */
  useRslora: optional(oneOf(true, false), undefined),
  /** DoRA: train a length for each column of the adapted weight too. */
  useDora: optional(oneOf(true, false), undefined),
  /** How A and B start: A Kaiming-uniform for true, or "gaussian"; "pissa", "pissa_niter_4" or "olora" from the base. */
  initLoraWeights: optional(initialisation, undefined),
});

const data = section({
  format: oneOf('text', 'chat'),
  /** JSONL files with `text` rows or `messages` rows. */
  train: listOf(text),
  validation: optional(listOf(text), [] as readonly string[]),
  /** Input tokens of a row. */
  sequenceLength: whole(2),
  /** Names that the rows' `domain` may have, in the order of the model's experts. */
  domains: optional(listOf(text), [
    'psychology',
    'mental_health',
    'bias_detection',
    'general_therapeutic',
  ] as readonly string[]),
  /** Share of the rows drawn per domain; need not sum to 1. Default: in proportion to the tokens. */
  domainWeights: optional(recordOf(number(0)), undefined),
  /** Documents are taken evenly over the validation files until this many tokens. */
  maxValidationTokens: optional(whole(1), 100_000),
});

const training = section({
  steps: whole(1),
  /** Rows of a micro-batch. */
  batchSize: whole(1),
  /** Micro-batches per step. */
  accumulationSteps: optional(whole(1), 1),
  learningRate: positive,
  warmupSteps: optional(whole(0), 0),
  /** LoRA+: how much faster B of an adapter learns than A. */
  loraplusLrRatio: optional(positive, undefined),
  /** The last step's learning rate as a share of the peak. */
  finalLearningRateFraction: optional(number(0, 1), 0.1),
  weightDecay: optional(number(0), 0.1),
  beta1: optional(number(0, 0.999999), 0.9),
  beta2: optional(number(0, 0.999999), 0.95),
  epsilon: optional(positive, 1e-8),
  /** 0 turns clipping off. */
  maxGradientNorm: optional(number(0), 1),
  /** Steps between evaluations; needs validation files. */
  evaluateEverySteps: optional(whole(1), undefined),
  /** Evaluations in a row without a better score before the run stops. */
  patience: optional(whole(1), undefined),
  checkpointEverySteps: optional(whole(1), undefined),
  checkpointEveryMinutes: optional(positive, undefined),
  keepCheckpoints: optional(whole(1), 2),
  maxMinutes: optional(positive, undefined),
  saveMarginSeconds: optional(number(0), 30),
  logEverySteps: optional(whole(1), 10),
  /** Which weights are saved as the model: those of the best evaluation, or the last. */
  save: optional(oneOf('best', 'last'), undefined),
});

/** Not written among a run's settings while at its default, so that runs from before it was there can go on. */
const DOMAIN_BALANCE = 0.01;

const auxiliary = section({
  /** Weight of the KL divergence between mean routing probabilities and uniform. */
  klBalance: optional(number(0), 0.01),
  /** Weight of the router z-loss. */
  zLoss: optional(number(0), 0.001),
  /** Weight of the loss that teaches the router the rows' domains. 0: the router finds its own division. */
  domainSupervision: optional(number(0), 0),
  /** Weight of Switch Transformer's balance loss. Absent: not computed, like the two after it. */
  switchBalance: optional(number(0), undefined),
  /** Weight of the mean squared distance of the mean routing probabilities from uniform. */
  mseBalance: optional(number(0), undefined),
  /** Weight of the balance loss within each sequence. */
  sequenceBalance: optional(number(0), undefined),
  /** Weight of the KL divergence between the mean mix of attention's domains and uniform, for models that have them. */
  domainBalance: optional(number(0), DOMAIN_BALANCE),
  /** How far the balance bias of each expert moves after a step, for models whose mixture has balanceBias. */
  biasUpdateRate: optional(positive, undefined),
});

const root = section({
  /** At most 2^32 - 1: generators mix 32 bits of it, so that two larger seeds could give one run. */
  seed: optional(whole(0, 2 ** 32 - 1), 0),
  backend: optional(oneOf(...backends), 'auto' as const),
  /** What large products compute with; `bfloat16` needs the backend `tensorflow`. Weights stay float32. */
  precision: optional(oneOf('float32', 'bfloat16'), 'float32' as const),
  /** Folder of the run: log, checkpoints and the trained model. */
  output: text,
  model,
  lora: optional(lora, undefined),
  /** Folder with tokenizer.json. */
  tokenizer: text,
  data,
  training,
  auxiliary: optional(auxiliary, auxiliary({}, 'auxiliary')),
});

/** A whole, checked training config: what `therapeutic-moe train --config FILE` reads, defaults filled in. */
export type TrainConfig = ReturnType<typeof root>;

/**
 * Checks a training config and fills in the defaults.
 *
 * @param raw the parsed JSON.
 * @throws on an unknown key (with the nearest known one) and on an impossible setting, naming field, value and way out.
 */
export function resolveTrainConfig(raw: unknown): TrainConfig {
  const config = root(raw, '');
  const { model: from, training: steps, data: rows } = config;
  if ((from.preset === undefined) === (from.from === undefined)) {
    throw new Error(
      `config: model must have either preset or from, got ${from.preset === undefined ? 'neither' : 'both'}.`,
    );
  }
  if (from.overrides !== undefined && from.preset === undefined) {
    throw new Error(
      'config: model.overrides belong to model.preset; a model loaded with model.from keeps its own config.',
    );
  }
  if (config.lora !== undefined && from.from === undefined) {
    throw new Error('config: lora adapts a trained model; name its folder in model.from instead of model.preset.');
  }
  checkAdapter(config.lora);
  if (from.weights !== undefined && from.weights !== 'float32' && config.lora === undefined) {
    throw new Error(
      `config: model.weights is ${from.weights}, in which weights are frozen, and there is no adapter to train; set lora, or leave it out.`,
    );
  }
  if (steps.loraplusLrRatio !== undefined && config.lora === undefined) {
    throw new Error(
      `config: training.loraplusLrRatio is ${steps.loraplusLrRatio} but there is no adapter; set lora or leave it out.`,
    );
  }
  if (steps.warmupSteps >= steps.steps) {
    throw new Error(
      `config: training.warmupSteps is ${steps.warmupSteps} but training.steps is ${steps.steps}; the peak learning rate would never be reached. Use fewer than ${steps.steps}.`,
    );
  }
  if (steps.evaluateEverySteps !== undefined && rows.validation.length === 0) {
    throw new Error(
      'config: training.evaluateEverySteps needs data.validation; name validation files or leave it out.',
    );
  }
  for (const name of ['patience', 'save'] as const) {
    if (steps[name] !== undefined && steps[name] !== 'last' && steps.evaluateEverySteps === undefined) {
      throw new Error(
        `config: training.${name} is ${JSON.stringify(steps[name])} but nothing is evaluated; set training.evaluateEverySteps.`,
      );
    }
  }
  for (const domain of Object.keys(rows.domainWeights ?? {})) {
    if (!rows.domains.includes(domain)) {
      throw new Error(`config: data.domainWeights.${domain} is not one of data.domains: ${rows.domains.join(', ')}.`);
    }
  }
  return config;
}

function checkAdapter(adapter: TrainConfig['lora']): void {
  if (!adapter) return;
  const { targetModules, targetParameters, loraDropout, useDora, initLoraWeights = true } = adapter;
  if (!targetParameters) {
    if (targetModules.length === 0) refuse('lora.targetModules', 'a list that is not empty', targetModules);
    return;
  }
  const beside = Object.entries({
    loraDropout: loraDropout > 0 && loraDropout,
    useDora,
    initLoraWeights: initLoraWeights !== true && initLoraWeights !== 'gaussian' && initLoraWeights,
  }).find(([, value]) => value);
  if (!beside) return;
  throw new Error(
    `config: lora.targetParameters does not go with lora.${beside[0]} ${JSON.stringify(beside[1])}; leave it out, or adapt linears alone.`,
  );
}

const freeToChange = new Set([
  'evaluateEverySteps',
  'patience',
  'checkpointEverySteps',
  'checkpointEveryMinutes',
  'keepCheckpoints',
  'maxMinutes',
  'saveMarginSeconds',
  'logEverySteps',
  'save',
]);

/**
 * The settings that a resumed run must share with the one it goes on from: all that decides the weights. `training.steps`
 * is among them, since the learning rate depends on it; limits, checkpoints and evaluation are not. Of the tokenizer and
 * the base model this has the paths; `hashStartFiles` has their contents.
 */
export function resumeSettings({
  seed,
  precision,
  model: start,
  lora: adapter,
  tokenizer,
  data: rows,
  training: steps,
  auxiliary: losses,
}: TrainConfig): Record<string, unknown> {
  const { validation: _, maxValidationTokens: __, ...train } = rows;
  const deciding = Object.entries({ training: steps, data: train, auxiliary: losses }).flatMap(([name, values]) =>
    Object.entries(values)
      .filter(([key, value]) => !freeToChange.has(key) && !(key === 'domainBalance' && value === DOMAIN_BALANCE))
      .map(([key, value]) => [`${name}.${key}`, value]),
  );
  return {
    seed,
    ...(precision === 'float32' ? {} : { precision }),
    model: start,
    ...(adapter ? { lora: adapter } : {}),
    tokenizer,
    ...Object.fromEntries(deciding),
  };
}

/** What is allowed but cannot work as meant, in words. */
export function trainConfigWarnings({
  training: { steps, patience, evaluateEverySteps, maxMinutes, saveMarginSeconds },
}: TrainConfig): string[] {
  const warnings: string[] = [];
  if (patience !== undefined && evaluateEverySteps !== undefined && patience * evaluateEverySteps >= steps) {
    warnings.push(
      `training.patience is ${patience} evaluations of ${evaluateEverySteps} steps each in a run of ${steps} steps; it cannot fire.`,
    );
  }
  if (maxMinutes !== undefined && saveMarginSeconds * 2 > maxMinutes * 60) {
    warnings.push(
      `training.saveMarginSeconds is ${saveMarginSeconds} in a run of ${maxMinutes} minutes; most of the time is kept for saving.`,
    );
  }
  return warnings;
}
