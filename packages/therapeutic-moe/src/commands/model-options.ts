import type { BackendChoice } from '@therapeutic-moe/backend';
import { type WeightDtype, weightDtypes } from '@therapeutic-moe/model';
import { type LoadModelOptions, loadModel } from '../load-model.js';

/** Options that every command with a model shares. */
export const modelOptions = {
  model: {
    type: 'string',
    description: 'checkpoint folder; default the embedded demonstration model',
    valueHint: 'DIR',
  },
  adapter: { type: 'string', description: 'PEFT adapter folder', valueHint: 'DIR' },
  backend: { type: 'string', description: 'auto, tensorflow, webgpu, wasm or cpu', default: 'auto' },
  precision: {
    type: 'string',
    description: 'weights as float32, or frozen in fewer bytes: bfloat16, float16 or int8; replies may differ',
    default: 'float32',
  },
} as const;

/** @throws when the option names nothing that weights can be held as. */
export function readPrecision(text: string): WeightDtype {
  const weights = weightDtypes.find((each) => each === text);
  if (weights) return weights;
  throw new Error(`--precision must be ${weightDtypes.join(', ')}, got '${text}'.`);
}

/** Options of the commands that hold conversations. */
export const conversationOptions = {
  'kv-cache': {
    type: 'string',
    description: 'keys and values as float32 or int8: a quarter of the memory, replies may differ',
    default: 'float32',
  },
} as const;

/** @throws when the option names neither way to keep keys and values. */
export function readKvCache(text: string): NonNullable<LoadModelOptions['kvCache']> {
  if (text === 'float32' || text === 'int8') return text;
  throw new Error(`--kv-cache must be float32 or int8, got '${text}'.`);
}

/** Logs to standard error, so that standard output carries results only. */
export const errorLogger = {
  info: (line: string) => console.error(line),
  warn: (line: string) => console.error(line),
};

/** Loads what `modelOptions` name. @param conversations how replies keep keys and values, where the command makes any. */
export function loadFromOptions(
  { model, adapter, backend, precision }: { model?: string; adapter?: string; backend: string; precision: string },
  conversations: Pick<LoadModelOptions, 'keptSessions' | 'kvCache'> = {},
) {
  const weights = readPrecision(precision);
  const options = { backend: backend as BackendChoice, adapter, weights, logger: errorLogger, ...conversations };
  return loadModel(model, options);
}
