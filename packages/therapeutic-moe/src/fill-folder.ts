import { readdirSync, rmSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * What may lie in a folder that a model is written into: a fresh clone of a repository has it. What ends in `.tmp` is a
 * file that was being written when a run was killed.
 */
const harmless = /^(?:\..*(?<!\.tmp)|readme\.md|licen[cs]e.*)$/i;

/**
 * Runs `write` for a folder that is new or holds no model. When it fails or SIGINT or SIGTERM end the process, what it
 * wrote is removed, so that half a model is never left.
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
  const stop = (signal: NodeJS.Signals) => {
    removeNew(directory, before); // at once, since the process ends
    release();
    process.kill(process.pid, signal);
  };
  const release = () => {
    for (const signal of signals) process.off(signal, stop);
  };
  for (const signal of signals) process.on(signal, stop);
  try {
    return await write();
  } catch (thrown) {
    removeNew(directory, before);
    throw thrown;
  } finally {
    release();
  }
}

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Undefined: there is no such folder yet. */
async function entriesOf(directory: string): Promise<string[] | undefined> {
  const found = await stat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (!found) return undefined;
  if (!found.isDirectory()) throw new Error(`${directory} is a file; name a folder.`);
  return readdir(directory);
}

function removeNew(directory: string, before: readonly string[] | undefined): void {
  if (!before) {
    rmSync(directory, { recursive: true, force: true });
    return;
  }
  for (const name of readdirSync(directory))
    if (!before.includes(name)) rmSync(join(directory, name), { recursive: true, force: true });
}
