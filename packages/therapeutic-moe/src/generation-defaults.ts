import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** How a model samples unless it is asked otherwise. */
export interface GenerationDefaults {
  readonly temperature: number;
  readonly topP: number;
  readonly topK?: number;
  readonly repetitionPenalty: number;
  readonly maxTokens: number;
  /** Weight of the prompt (classifier-free guidance, arXiv:2306.17806); 1 is off and costs nothing, more costs twice the computation. */
  readonly guidanceScale: number;
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

/**
 * Reads a checkpoint's `generation_config.json`; `do_sample: false` means greedy. A folder without the file has the usual defaults.
 *
 * @throws when a field that is read is not a number in its range; other fields are left to other readers.
 */
export async function readGenerationDefaults(directory: string): Promise<GenerationDefaults> {
  const file = join(directory, 'generation_config.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return withoutFile;
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new Error(`${file} is not valid JSON.`, { cause });
  }
  const read: Record<string, number> = {};
  for (const [name, [key, low, high]] of Object.entries(fields)) {
    const value = json[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number' || !(value >= low && value <= high)) {
      throw new Error(`${file}: ${name} must be a number from ${low} to ${high}, got ${JSON.stringify(value)}.`);
    }
    read[key] = value;
  }
  if (read.topK === 0) delete read.topK; // Hugging Face's way to turn it off
  return Object.freeze({ ...withoutFile, ...read, ...(json.do_sample === false ? { temperature: 0 } : {}) });
}
