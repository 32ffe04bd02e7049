import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CausalLm, loadModelDirectory, saveModelDirectory } from '../src/index.js';

/** A model as it comes back from a folder, and the folder's `config.json`. Caller disposes the model. */
export async function writeAndRead(model: CausalLm) {
  const directory = await mkdtemp(join(tmpdir(), 'model-'));
  try {
    await saveModelDirectory(model, directory);
    const json = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8'));
    return { loaded: await loadModelDirectory(directory), json };
  } finally {
    await rm(directory, { recursive: true });
  }
}
