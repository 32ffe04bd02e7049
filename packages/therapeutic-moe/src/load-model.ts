import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type BackendChoice, type Logger, useBackend } from '@therapeutic-moe/backend';
import { modelDirectory } from '@therapeutic-moe/embedded-model';
import { Adapters } from '@therapeutic-moe/lora';
import {
  type CausalLm,
  loadAdapter,
  loadModelDirectory,
  mergeLora,
  readModelConfig,
  type WeightDtype,
} from '@therapeutic-moe/model';
import { Tokenizer } from '@therapeutic-moe/tokenizer';
import { readGenerationDefaults } from './generation-defaults.js';
import { LanguageModel } from './language-model.js';
import { requireAdapter } from './require-adapter.js';

/** How a model is loaded. */
export interface LoadModelOptions {
  /** Default `auto`: the fastest backend that works here. */
  readonly backend?: BackendChoice;
  /** A folder with a PEFT adapter to put on the model; it is merged into float32 weights and stays beside frozen ones. */
  readonly adapter?: string;
  /** Folders with PEFT adapters by name: each answers as a model of its own (`adapters` of the model), beside the base. */
  readonly adapters?: Readonly<Record<string, string>>;
  /**
   * What linears, experts, embedding and head are held as; all but float32 are frozen and rounded, and replies may differ.
   * Default `float32`.
   */
  readonly weights?: WeightDtype;
  /** Weight of the prompt while replying, 1 or more; default what the checkpoint's `generation_config.json` says, else 1 (off). */
  readonly guidanceScale?: number;
  /** Conversations whose keys and values are kept, so that a next turn computes only what is new; 0 keeps none. Default 1. */
  readonly keptSessions?: number;
  /** How replies keep keys and values: `int8` takes about a quarter of the memory, and replies may differ. Default `float32`. */
  readonly kvCache?: 'float32' | 'int8';
  /** Receives the line that says which backend runs and why. */
  readonly logger?: Logger;
}

/** The name under which the embedded model is served. */
export const embeddedModelName = 'therapeutic-moe-demo';

/**
 * Loads a model and its tokenizer onto a backend.
 *
 * @param directory a checkpoint folder in Hugging Face's layout with a `tokenizer.json`; default the embedded demonstration model.
 * @returns the model; the caller disposes it.
 * @throws when the folder is not such a checkpoint, or the backend is not available.
 */
export async function loadModel(
  directory: string = modelDirectory,
  options: LoadModelOptions = {},
): Promise<LanguageModel> {
  if (options.adapter && options.adapters)
    throw new Error('loadModel: adapter is merged into the weights that adapters need plain; give one or the other.');
  const { weights = 'float32' } = options;
  const config = await readModelConfig(directory);
  const { vocabSize, eosTokenId = [] } = config;
  const tokenizer = await Tokenizer.fromDirectory(directory);
  checkVocabulary(tokenizer, vocabSize, directory);
  const read = await readGenerationDefaults(directory, vocabSize);
  for (const folder of [options.adapter ?? [], Object.values(options.adapters ?? {})].flat())
    await requireAdapter(folder, config);
  await useBackend(options.backend ?? 'auto', { logger: options.logger });
  const decoder = await loadModelDirectory(directory, { weights });
  try {
    if (options.adapter) {
      const adapter = await loadAdapter(decoder, options.adapter);
      if (weights === 'float32') mergeLora(decoder, adapter);
    }
    const id = directory === modelDirectory ? embeddedModelName : basename(resolve(directory));
    const adapter = options.adapter && (await weightsRevision(options.adapter));
    const adapters = await loadAdapters(decoder, options.adapters ?? {});
    const defaults = {
      stopTokens: [eosTokenId].flat(), // unless `generation_config.json` names some, as in transformers
      ...read,
      ...(options.guidanceScale === undefined ? {} : { guidanceScale: options.guidanceScale }),
    };
    const rounded = weights === 'float32' ? '' : `, ${weights} weights`;
    const revision = `${await weightsRevision(directory)}${rounded}`;
    const { keptSessions, kvCache } = options;
    return new LanguageModel({ id, decoder, tokenizer, defaults, revision, adapter, adapters, keptSessions, kvCache });
  } catch (error) {
    decoder.dispose();
    throw error;
  }
}

/** Loads each under its name. @returns what identifies them. */
async function loadAdapters(
  decoder: CausalLm,
  folders: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, string>> {
  const revisions = new Map<string, string>();
  for (const [name, folder] of Object.entries(folders)) {
    await new Adapters(decoder).load(name, folder);
    revisions.set(name, await weightsRevision(folder));
  }
  return revisions;
}

/** The model has a row of its embedding for every token; files of two models may not. */
function checkVocabulary(tokenizer: Tokenizer, vocabSize: number, directory: string): void {
  const last = tokenizer.vocabSize - 1;
  if (last < vocabSize) return;
  const token = JSON.stringify(new TextDecoder().decode(tokenizer.tokenBytes(last)));
  throw new Error(
    `${join(directory, 'tokenizer.json')}: ${tokenizer.isAdded(last) ? 'the added token' : 'token'} ${token} has the id ${last}, expected ids below ${vocabSize}, the vocab_size of config.json; the files belong to different models.`,
  );
}

/** A short hash over the weight files of a folder, and the settings that say how an adapter's are scaled. */
async function weightsRevision(directory: string): Promise<string> {
  const hash = createHash('sha256');
  const files = (await readdir(directory))
    .filter((name) => name.endsWith('.safetensors') || name === 'adapter_config.json')
    .sort();
  for (const file of files)
    for await (const chunk of createReadStream(join(directory, file))) hash.update(chunk as Buffer);
  return hash.digest('hex').slice(0, 16);
}
