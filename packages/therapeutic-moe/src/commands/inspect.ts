import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoraConfig } from '@therapeutic-moe/lora';
import {
  blockValuesPerToken,
  configFromJson,
  countParameters,
  fullSessionBytes,
  keptTokens,
  kvBytesPerToken,
  kvValuesPerToken,
  type ModelConfig,
  maxPositions,
} from '@therapeutic-moe/model';
import { defineCommand } from 'citty';
import { planFromArgs, planLines, planOptions } from './inspect-plan.js';
import { loraOptions, readLoraOptions } from './lora-options.js';

/** What `inspect --json` prints. */
export interface Inspection {
  readonly parameters: { readonly total: number; readonly trainable: number; readonly activePerToken: number };
  readonly bytes: { readonly bfloat16: number; readonly float32: number };
  /**
   * Of attention, while the token is kept. `float32` and `int8` are what a session of ours takes, `bfloat16` what others
   * do.
   */
  readonly kvBytesPerToken: { readonly bfloat16: number; readonly float32: number; readonly int8: number };
  /** How many of the newest tokens are kept; absent: all. */
  readonly keptTokens?: number;
  /** What blocks of coarse levels take besides for each token, kept or not, always float32; absent: there are none. */
  readonly blockBytesPerToken?: number;
  /** What attention takes in a session of `tokens` tokens, as many as the model serves. */
  readonly fullSession: { readonly tokens: number; readonly float32: number; readonly int8: number };
}

/** Sizes of a model, from its config alone: nothing is loaded. */
export function inspect(config: ModelConfig, lora?: Partial<LoraConfig>): Inspection {
  const parameters = countParameters(config, lora);
  const [kept, blockValues] = [keptTokens(config), blockValuesPerToken(config)];
  return {
    parameters,
    bytes: { bfloat16: 2 * parameters.total, float32: 4 * parameters.total },
    kvBytesPerToken: {
      bfloat16: 2 * kvValuesPerToken(config),
      float32: kvBytesPerToken(config, 'float32'),
      int8: kvBytesPerToken(config, 'int8'),
    },
    ...(kept !== undefined && { keptTokens: kept }),
    ...(blockValues > 0 && { blockBytesPerToken: 4 * blockValues }),
    fullSession: {
      tokens: maxPositions(config),
      float32: fullSessionBytes(config, 'float32'),
      int8: fullSessionBytes(config, 'int8'),
    },
  };
}

/** Prints sizes computed from a config. */
export const inspectCommand = defineCommand({
  meta: { name: 'inspect', description: 'Print parameters, bytes and cache size of a model, from its config alone.' },
  args: {
    model: { type: 'string', description: 'checkpoint folder', valueHint: 'DIR' },
    config: { type: 'string', description: 'a config.json', valueHint: 'FILE' },
    ...loraOptions,
    ...planOptions,
    json: { type: 'boolean', description: 'print one JSON object' },
  },
  async run({ args }) {
    if ((args.model === undefined) === (args.config === undefined))
      throw new Error('name either --model DIR or --config FILE.');
    const lora = readLoraOptions(args);
    const file = args.config ?? join(args.model!, 'config.json');
    const config = configFromJson(await readJson(file), file);
    const plan = planFromArgs(args, config, lora);
    const result = inspect(config, lora);
    if (args.json) {
      console.log(JSON.stringify({ ...result, ...(plan && { plan }) }));
      return;
    }
    console.log([...asLines(result), ...(plan ? planLines(plan) : [])].join('\n'));
  },
});

function asLines({ parameters, bytes, ...cache }: Inspection): string[] {
  const { tokens, ...fullSession } = cache.fullSession;
  const kept = cache.keptTokens === undefined ? '' : `, of the newest ${grouped(cache.keptTokens)} tokens`;
  const blocks = cache.blockBytesPerToken;
  return [
    `parameters        ${grouped(parameters.total)}`,
    `trainable         ${grouped(parameters.trainable)}`,
    `active per token  ${grouped(parameters.activePerToken)}`,
    `bytes             ${byKind(bytes)}`,
    `cache per token   ${byKind(cache.kvBytesPerToken)}${kept}`,
    ...(blocks === undefined ? [] : [`blocks per token  ${grouped(blocks)} float32, of every token`]),
    `full session      ${byKind(fullSession)}, of ${grouped(tokens)} tokens`,
  ];
}

function byKind(bytes: Readonly<Record<string, number>>): string {
  return Object.entries(bytes)
    .map(([kind, count]) => `${grouped(count)} ${kind}`)
    .join(', ');
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`${file} cannot be read (${cause.code}).`, { cause });
  });
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new Error(`${file} is not valid JSON.`, { cause });
  }
}
