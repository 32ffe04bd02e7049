import type { BackendChoice } from '@therapeutic-moe/backend';
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
} as const;

/** Logs to standard error, so that standard output carries results only. */
export const errorLogger = {
  info: (line: string) => console.error(line),
  warn: (line: string) => console.error(line),
};

/** Loads what `modelOptions` name. */
export function loadFromOptions({ model, adapter, backend }: { model?: string; adapter?: string; backend: string }) {
  const options: LoadModelOptions = { backend: backend as BackendChoice, adapter, logger: errorLogger };
  return loadModel(model, options);
}
