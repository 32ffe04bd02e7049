import { open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { downloadFile as openRemote } from '@huggingface/hub';
import { hasContent } from './content-hash.js';
import type { HubFile } from './hub-files.js';
import { type HubPlace, NotAsListed, refusal } from './hub-place.js';

/** Interruptions in a row, without a byte between them, after which a download is given up. */
const MOST_INTERRUPTIONS = 4;
const WAIT_MS = 250;

/**
 * Brings one file into a folder. It grows as `NAME.part` and gets its name when its content is what the hub lists; an
 * interrupted download goes on from the part, in the same run or a later one.
 *
 * @param onBytes hears of bytes as they come; `received` is false for those that were on disk.
 * @throws when the hub refuses, the connection breaks again and again, or the content is another one; that is removed.
 */
export async function downloadFile(
  hub: HubPlace,
  file: HubFile,
  directory: string,
  onBytes: (bytes: number, received: boolean) => void,
): Promise<void> {
  const target = join(directory, file.path);
  const part = `${target}.part`;
  if ((await sizeOf(part)) > file.bytes) await rm(part);
  onBytes(await sizeOf(part), false);
  for (let interruptions = 0; (await sizeOf(part)) !== file.bytes || file.bytes === 0; ) {
    const before = await sizeOf(part);
    try {
      await append(hub, file, part, before, onBytes);
      break;
    } catch (cause) {
      const told = refusal(hub, cause, file.path);
      if (told) throw told;
      interruptions = (await sizeOf(part)) > before ? 1 : interruptions + 1;
      if (interruptions >= MOST_INTERRUPTIONS) throw interrupted(hub, file, await sizeOf(part), cause);
      await wait(WAIT_MS * interruptions);
    }
  }
  if (!(await hasContent(part, file))) {
    await rm(part);
    throw new Error(
      `pull: ${file.path}: expected the content that ${hub.repo} lists (${file.hash.kind} ${file.hash.hex}), got another one; it was removed, pull again.`,
    );
  }
  await rename(part, target);
}

async function append(
  hub: HubPlace,
  { path, bytes }: HubFile,
  part: string,
  start: number,
  onBytes: (bytes: number, received: boolean) => void,
): Promise<void> {
  const remote = await openRemote({ ...hub, path, xet: false });
  if (!remote) throw new NotAsListed(`pull: ${path}: ${hub.repo} lists it and does not have it.`);
  if (remote.size !== bytes)
    throw new NotAsListed(
      `pull: ${path}: expected ${bytes} bytes as ${hub.repo} lists, the server offers ${remote.size}.`,
    );
  const handle = await open(part, 'a');
  try {
    let written = start;
    for await (const chunk of remote.slice(start, bytes).stream()) {
      written += chunk.length;
      if (written > bytes) {
        await handle.truncate(0);
        throw new NotAsListed(`pull: ${path}: the server sent more than the ${bytes} bytes asked for; pull again.`);
      }
      await handle.writeFile(chunk);
      onBytes(chunk.length, true);
    }
    if (written < bytes) throw new Error(`the server closed the connection after ${written} of ${bytes} bytes`);
  } finally {
    await handle.close();
  }
}

function interrupted(hub: HubPlace, { path, bytes }: HubFile, got: number, cause: unknown): Error {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Error(
    `pull: ${path}: the download from ${hub.hubUrl} broke off at ${got} of ${bytes} bytes: ${reason}. What came is kept; pull again to go on.`,
    { cause },
  );
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}
