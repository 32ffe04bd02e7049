import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  configFromJson,
  countParameters,
  kvBytesPerToken,
  kvValuesPerToken,
  type ModelConfig,
} from '@therapeutic-moe/model';
import { defineCommand } from 'citty';
import { readNumber } from './numbers.js';

/** What `inspect --json` prints. */
export interface Inspection {
  readonly parameters: { readonly total: number; readonly trainable: number; readonly activePerToken: number };
  readonly bytes: { readonly bfloat16: number; readonly float32: number };
  /** `float32` and `int8` are what a session of ours takes, `bfloat16` what others do. */
  readonly kvBytesPerToken: { readonly bfloat16: number; readonly float32: number; readonly int8: number };
}

/** Sizes of a model, from its config alone: nothing is loaded. */
export function inspect(config: ModelConfig, lora?: { r: number; targetModules: readonly string[] }): Inspection {
  const parameters = countParameters(config, lora);
  return {
    parameters,
    bytes: { bfloat16: 2 * parameters.total, float32: 4 * parameters.total },
    kvBytesPerToken: {
      bfloat16: 2 * kvValuesPerToken(config),
      float32: kvBytesPerToken(config, 'float32'),
      int8: kvBytesPerToken(config, 'int8'),
    },
  };
}

/** What an adapter is put on unless told otherwise. */
const attentionLinears = 'q_proj,k_proj,v_proj,o_proj';

/** Prints sizes computed from a config. */
export const inspectCommand = defineCommand({
  meta: { name: 'inspect', description: 'Print parameters, bytes and cache size of a model, from its config alone.' },
  args: {
    model: { type: 'string', description: 'checkpoint folder', valueHint: 'DIR' },
    config: { type: 'string', description: 'a config.json', valueHint: 'FILE' },
    'lora-r': { type: 'string', description: 'rank of an adapter to count' },
    'lora-targets': { type: 'string', description: `its linears; default ${attentionLinears}` },
    json: { type: 'boolean', description: 'print one JSON object' },
  },
  async run({ args }) {
    if ((args.model === undefined) === (args.config === undefined))
      throw new Error('name either --model DIR or --config FILE.');
    if (args['lora-targets'] !== undefined && args['lora-r'] === undefined)
      throw new Error('--lora-targets needs --lora-r, the rank of the adapter that they belong to.');
    const file = args.config ?? join(args.model!, 'config.json');
    const lora =
      args['lora-r'] === undefined
        ? undefined
        : {
            r: readNumber('lora-r', args['lora-r'], { min: 1, max: 65_536, whole: true }),
            targetModules: (args['lora-targets'] ?? attentionLinears).split(',').map((name) => name.trim()),
          };
    const result = inspect(configFromJson(await readJson(file), file), lora);
    if (args.json) {
      console.log(JSON.stringify(result));
      return;
    }
    const { parameters, bytes, kvBytesPerToken: cache } = result;
    console.log(`parameters        ${parameters.total.toLocaleString('en')}`);
    console.log(`trainable         ${parameters.trainable.toLocaleString('en')}`);
    console.log(`active per token  ${parameters.activePerToken.toLocaleString('en')}`);
    console.log(
      `bytes             ${bytes.bfloat16.toLocaleString('en')} bfloat16, ${bytes.float32.toLocaleString('en')} float32`,
    );
    const kinds = (['bfloat16', 'float32', 'int8'] as const).map(
      (dtype) => `${cache[dtype].toLocaleString('en')} ${dtype}`,
    );
    console.log(`cache per token   ${kinds.join(', ')}`);
  },
});

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
