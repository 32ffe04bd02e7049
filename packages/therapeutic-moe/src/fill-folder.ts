import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What may lie in a folder that a model is written into: a fresh clone of a repository has it. */
const harmless = /^(?:\..*|readme\.md|licen[cs]e.*)$/i;

/**
 * Runs `write` for a folder that is new or holds no model. When it fails, what it wrote is removed, so that half a model
 * is never left.
 *
 * @throws when there are files that could be lost or taken for a part of the model, naming some.
 */
export async function fillFolder<T>(directory: string, write: () => Promise<T>): Promise<T> {
  const before = await entriesOf(directory);
  const others = before?.filter((name) => !harmless.test(name)) ?? [];
  if (others.length > 0) {
    throw new Error(
      `${directory} is not empty: it holds ${others.slice(0, 3).join(', ')}${others.length > 3 ? ` and ${others.length - 3} more` : ''}. Name a new or an empty folder, or remove this one first; nothing is written over.`,
    );
  }
  try {
    return await write();
  } catch (thrown) {
    await removeNew(directory, before);
    throw thrown;
  }
}

/** Undefined: there is no such folder yet. */
async function entriesOf(directory: string): Promise<string[] | undefined> {
  const found = await stat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (!found) return undefined;
  if (!found.isDirectory()) throw new Error(`${directory} is a file; name a folder.`);
  return readdir(directory);
}

async function removeNew(directory: string, before: readonly string[] | undefined): Promise<void> {
  if (!before) {
    await rm(directory, { recursive: true, force: true });
    return;
  }
  for (const name of await readdir(directory))
    if (!before.includes(name)) await rm(join(directory, name), { recursive: true, force: true });
}
