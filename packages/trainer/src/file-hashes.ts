import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainConfig } from './train-config.js';

/** SHA-256 of a file in hexadecimal; the file is streamed. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/**
 * SHA-256 of the files that a run starts from, as settings that a resumed run must share: `tokenizer.json`, and with
 * `model.from` that folder's `config.json` and safetensors files.
 *
 * @throws when a folder or its `tokenizer.json` cannot be read.
 */
export async function hashStartFiles({
  model,
  tokenizer,
}: Pick<TrainConfig, 'model' | 'tokenizer'>): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {
    'tokenizer.json sha256': await hashFile(join(tokenizer, 'tokenizer.json')),
  };
  if (model.from === undefined) return hashes;
  for (const name of (await readdir(model.from)).sort()) {
    if (name === 'config.json' || name.endsWith('.safetensors'))
      hashes[`model.from ${name} sha256`] = await hashFile(join(model.from, name));
  }
  return hashes;
}
