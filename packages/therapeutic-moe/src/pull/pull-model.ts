import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { listFiles, modelInfo } from '@huggingface/hub';
import { parseShardIndex } from '@therapeutic-moe/checkpoint';
import { downloadFile } from './download-file.js';
import type { DownloadProgress } from './download-progress.js';
import { filesOf, type HubFile, INDEX, neededFiles, quoted } from './hub-files.js';
import { type HubPlace, refusal } from './hub-place.js';
import { presentFiles } from './present-files.js';

/** What was brought. */
export interface PulledModel {
  /** The folder, ready for `loadModel` or, an adapter, for `--adapter`. */
  readonly directory: string;
  /** The commit that the revision named. */
  readonly commit: string;
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * Brings what a model or an adapter needs from a hub into a folder: descriptions, tokenizer, safetensors. Every file's
 * content is checked; what is there already is kept, what was interrupted goes on. A folder with other files that would
 * be read as a part of the model is refused before anything is written.
 *
 * @throws saying why, when the hub refuses, the repository is no such model, the folder holds another one, or a content
 *   is not the one listed.
 */
export async function pullModel(place: HubPlace, directory: string, progress: DownloadProgress): Promise<PulledModel> {
  const commit = await commitOf(place);
  const hub = { ...place, revision: commit }; // the branch may move meanwhile
  const where = `${place.repo} at ${place.revision}`;
  const files = filesOf(await listingOf(hub));
  const { descriptions, weights, sharded } = neededFiles(files, where);
  const possibleShards = sharded ? [...files.values()].filter(({ path }) => path.endsWith('.safetensors')) : [];
  const present = await presentFiles(directory, [...descriptions, ...weights, ...possibleShards], where);
  await mkdir(directory, { recursive: true });
  const bring = async (wanted: readonly HubFile[]) => {
    for (const file of wanted) {
      progress.start(file.path);
      if (present.has(file.path)) progress.add(file.bytes, false);
      else await downloadFile(hub, file, directory, (bytes, received) => progress.add(bytes, received));
    }
  };
  try {
    progress.expect(bytesOf([...descriptions, ...weights]));
    await bring(descriptions);
    const shards = sharded ? await shardsOf(join(directory, INDEX), files, where) : [];
    progress.expect(bytesOf(shards));
    await bring([...weights, ...shards]);
    const all = [...descriptions, ...weights, ...shards];
    return { directory, commit, files: all.map(({ path }) => path), bytes: bytesOf(all) };
  } finally {
    progress.stop();
  }
}

async function commitOf(hub: HubPlace): Promise<string> {
  return asked(hub, async () => {
    const { repo: name, ...rest } = hub;
    const { sha } = await modelInfo({ ...rest, name, additionalFields: ['sha'] });
    return sha;
  });
}

async function listingOf(hub: HubPlace) {
  return asked(hub, async () => {
    const listing = [];
    for await (const entry of listFiles(hub)) listing.push(entry);
    return listing;
  });
}

/** @throws what the hub refuses with, or that it cannot be reached. */
async function asked<T>(hub: HubPlace, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw refusal(hub, cause) ?? new Error(`pull: ${hub.hubUrl} cannot be asked: ${reason}.`, { cause });
  }
}

async function shardsOf(indexPath: string, files: ReadonlyMap<string, HubFile>, where: string): Promise<HubFile[]> {
  const names = new Set(parseShardIndex(await readFile(indexPath, 'utf8'), indexPath).values());
  return [...names].sort().map((name) => {
    const file = files.get(name);
    if (!file) throw new Error(`pull: ${where}: ${INDEX} names ${quoted(name)}, which the repository does not have.`);
    return file;
  });
}

function bytesOf(files: readonly HubFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
