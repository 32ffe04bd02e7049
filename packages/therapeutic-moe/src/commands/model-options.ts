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

/** What `--adapter` asks for, by the words after the command. */
export interface AskedAdapters {
  /** A folder to merge into the weights. */
  readonly adapter?: string;
  /** Folders by the name under which each is served. */
  readonly adapters?: Readonly<Record<string, string>>;
}

/**
 * Reads every `--adapter`: one folder, or any number of NAME=DIR.
 *
 * @throws when the two are mixed, a folder comes twice or a name does.
 */
export function readAdapters(words: readonly string[]): AskedAdapters {
  const texts = words.flatMap((word, i) => {
    if (word === '--adapter') return [words[i + 1]!];
    return word.startsWith('--adapter=') ? [word.slice('--adapter='.length)] : [];
  });
  const named = texts.map((text) => /^([\w.-]+)=(.+)$/s.exec(text)?.slice(1) as [string, string] | undefined);
  if (!named.some(Boolean)) {
    if (texts.length > 1)
      throw new Error(
        `--adapter: ${texts.length} folders cannot be merged into one; name each of them with --adapter NAME=DIR.`,
      );
    return texts.length === 1 ? { adapter: texts[0]! } : {};
  }
  const adapters: Record<string, string> = {};
  for (const [i, pair] of named.entries()) {
    if (!pair) throw new Error(`--adapter ${texts[i]} has no name, and others have; name it too: --adapter NAME=DIR.`);
    const [name, folder] = pair;
    if (Object.hasOwn(adapters, name)) throw new Error(`--adapter: the name '${name}' comes twice; choose another.`);
    adapters[name] = folder;
  }
  return { adapters };
}

/** Logs to standard error, so that standard output carries results only. */
export const errorLogger = {
  info: (line: string) => console.error(line),
  warn: (line: string) => console.error(line),
};

/** Loads what `modelOptions` name. @param conversations how replies keep keys and values, where the command makes any. */
export function loadFromOptions(
  {
    model,
    adapter,
    adapters,
    backend,
    precision,
  }: AskedAdapters & { model?: string; backend: string; precision: string },
  conversations: Pick<LoadModelOptions, 'keptSessions' | 'kvCache'> = {},
) {
  const weights = readPrecision(precision);
  const options = {
    backend: backend as BackendChoice,
    adapter,
    adapters,
    weights,
    logger: errorLogger,
    ...conversations,
  };
  return loadModel(model, options);
}
