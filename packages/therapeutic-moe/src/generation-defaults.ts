import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from './parse-json.js';

/** How a model samples unless it is asked otherwise. */
export interface GenerationDefaults {
  readonly temperature: number;
  readonly topP: number;
  readonly topK?: number;
  readonly repetitionPenalty: number;
  readonly maxTokens: number;
  /** Weight of the prompt (classifier-free guidance, arXiv:2306.17806); 1 is off and costs nothing, more costs twice the computation. */
  readonly guidanceScale: number;
  /** Tokens that end a reply besides the tokenizer's; absent where the file names none. */
  readonly stopTokens?: readonly number[];
  /** The token that starts a text, for a tokenizer that names none. */
  readonly bosTokenId?: number;
}

const withoutFile: GenerationDefaults = {
  temperature: 0.7,
  topP: 0.95,
  repetitionPenalty: 1,
  maxTokens: 256,
  guidanceScale: 1,
};

/** Fields of Hugging Face's file, what they are here, and the range they must be in. */
const fields = {
  temperature: ['temperature', 0, 2],
  top_p: ['topP', 0, 1],
  top_k: ['topK', 0, 1e6],
  repetition_penalty: ['repetitionPenalty', 0.1, 10],
  max_new_tokens: ['maxTokens', 1, 1e6],
  guidance_scale: ['guidanceScale', 1, 20],
} as const;

const wholeFields: readonly string[] = ['top_k', 'max_new_tokens'];

/** Fields that would change what is generated and are not implemented, with the values that change nothing. */
const neutral: Readonly<Record<string, readonly unknown[]>> = {
  num_beams: [1],
  num_beam_groups: [1],
  min_p: [0],
  typical_p: [1],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  top_h: [],
  no_repeat_ngram_size: [0],
  encoder_no_repeat_ngram_size: [0],
  penalty_alpha: [0],
  diversity_penalty: [0],
  exponential_decay_length_penalty: [],
  min_length: [0],
  min_new_tokens: [0],
  forced_bos_token_id: [],
  forced_eos_token_id: [],
  suppress_tokens: [],
  begin_suppress_tokens: [],
  bad_words_ids: [],
  sequence_bias: [],
  stop_strings: [],
  force_words_ids: [],
  constraints: [],
  encoder_repetition_penalty: [1],
  watermarking_config: [],
  token_healing: [false],
};

/**
 * Reads a checkpoint's `generation_config.json`; `do_sample: false` means greedy. A folder without the file has the usual defaults.
 *
 * @param vocabSize what token ids must be below.
 * @throws when a field that is read is not a number in its range, or one asks for a way to generate that is not
 *   implemented; fields that change no token are left to other readers.
 */
export async function readGenerationDefaults(directory: string, vocabSize: number): Promise<GenerationDefaults> {
  const file = join(directory, 'generation_config.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return withoutFile;
  const json = readObject(text, file);
  const read: Record<string, number> = {};
  for (const [name, [key, low, high]] of Object.entries(fields)) {
    const value = json[name];
    if (value === undefined || value === null) continue;
    const whole = wholeFields.includes(name);
    if (typeof value !== 'number' || !(value >= low && value <= high) || (whole && !Number.isInteger(value))) {
      throw new Error(
        `${file}: ${name} must be a ${whole ? 'whole ' : ''}number from ${low} to ${high}, got ${JSON.stringify(value)}.`,
      );
    }
    read[key] = value;
  }
  for (const [name, values] of Object.entries(neutral)) {
    const value = json[name] ?? null;
    if (value === null || values.includes(value) || (Array.isArray(value) && value.length === 0)) continue;
    throw new Error(
      `${file}: ${name} is ${JSON.stringify(value)}, which is not implemented; take the field out to go without.`,
    );
  }
  if (read.topK === 0) delete read.topK; // Hugging Face's way to turn it off
  const stopTokens = tokensOf(json.eos_token_id, 'eos_token_id', vocabSize, file);
  const [bosTokenId, ...others] = tokensOf(json.bos_token_id, 'bos_token_id', vocabSize, file);
  if (others.length > 0)
    throw new Error(`${file}: bos_token_id must be one token id, got ${JSON.stringify(json.bos_token_id)}.`);
  return Object.freeze({
    ...withoutFile,
    ...read,
    ...(isGreedy(json, file) && { temperature: 0 }),
    ...(stopTokens.length > 0 && { stopTokens }),
    ...(bosTokenId !== undefined && { bosTokenId }),
  });
}

function readObject(text: string, file: string): Readonly<Record<string, unknown>> {
  const json = parseJson(text, file);
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw new Error(`${file} must hold an object, got ${Array.isArray(json) ? 'a list' : JSON.stringify(json)}.`);
}

function isGreedy({ do_sample: sampled }: Readonly<Record<string, unknown>>, file: string): boolean {
  if (typeof (sampled ?? true) === 'boolean') return sampled === false;
  throw new Error(`${file}: do_sample must be true or false, got ${JSON.stringify(sampled)}.`);
}

/** One id or a list of them. */
function tokensOf(value: unknown, name: string, vocabSize: number, file: string): number[] {
  const ids = (Array.isArray(value) ? value : [value ?? []]).flat();
  const bad = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (bad === undefined) return ids;
  throw new Error(`${file}: ${name} must hold token ids from 0 to ${vocabSize - 1}, got ${JSON.stringify(bad)}.`);
}
