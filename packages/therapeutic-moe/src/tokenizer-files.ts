import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What tokenizers of Hugging Face's lay beside a model's weights. */
export const tokenizerFiles: readonly string[] = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'special_tokens_map.json',
  'added_tokens.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
];

/** Copies a model's tokenizer, chat template included. @returns the names of the files that were there. */
export function copyTokenizer(from: string, to: string): Promise<string[]> {
  return copyPresent(tokenizerFiles, from, to);
}

/** Copies how a model likes to be sampled. @returns whether the file was there. */
export async function copyGenerationConfig(from: string, to: string): Promise<boolean> {
  return (await copyPresent(['generation_config.json'], from, to)).length > 0;
}

async function copyPresent(files: readonly string[], from: string, to: string): Promise<string[]> {
  const copied: string[] = [];
  for (const name of files) {
    try {
      await copyFile(join(from, name), join(to, name));
      copied.push(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return copied;
}
