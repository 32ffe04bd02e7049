import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { tokenizerFiles } from '../tokenizer-files.js';
import { hasContent } from './content-hash.js';
import { described, type HubFile, INDEX } from './hub-files.js';

const read = new Set<string>([...described, ...tokenizerFiles, INDEX]);

/**
 * Names of the files that a folder holds already. Whatever lies there and would be read as a part of the model must be
 * the file that is expected under its name: nothing is written over, and no file of another model is left beside.
 *
 * @param where names the repository in errors.
 * @throws naming the first file that is not expected or has another content.
 */
export async function presentFiles(
  directory: string,
  expected: readonly HubFile[],
  where: string,
): Promise<ReadonlySet<string>> {
  const files = new Map(expected.map((file) => [file.path, file]));
  const present = new Set<string>();
  for (const name of (await namesIn(directory)).sort()) {
    if (!read.has(name) && !name.endsWith('.safetensors')) continue;
    const file = files.get(name);
    if (!file) throw new Error(`pull: ${join(directory, name)} is no file of ${where}; ${wayOut}`);
    const found = await stat(join(directory, name));
    if (!(found.isFile() && found.size === file.bytes && (await hasContent(join(directory, name), file))))
      throw new Error(`pull: ${join(directory, name)} is there with another content than in ${where}; ${wayOut}`);
    present.add(name);
  }
  return present;
}

const wayOut = 'name a new folder with --output DIR, or remove it first; nothing was written.';

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}
