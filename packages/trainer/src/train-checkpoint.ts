import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { type NamedArray, openCheckpoint, writeFileAtomic, writeSafetensors } from '@therapeutic-moe/checkpoint';
import type { DataState } from './data-source.js';
import { hashFile } from './file-hashes.js';

/** The best evaluation so far. */
export interface BestEvaluation {
  readonly step: number;
  readonly bitsPerByte: number;
  readonly nats: number;
}

/** Everything of a run that is not a tensor. */
export interface TrainState {
  /** Steps done. */
  readonly step: number;
  /** Counted tokens so far. */
  readonly tokens: number;
  /** Seconds of training so far, over all sessions. */
  readonly elapsedSeconds: number;
  readonly data: DataState;
  readonly best?: BestEvaluation;
  /** Evaluations since the best one. */
  readonly evaluationsWithoutGain: number;
  /** Settings that a resumed run must share. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** The tensors of a run, by group (`parameters`, `first-moments`, `second-moments`) and path. */
export type TensorGroups = Readonly<Record<string, ReadonlyMap<string, tf.Variable>>>;

interface SavedState extends TrainState {
  readonly format: 1;
  readonly files: Readonly<Record<string, { bytes: number; sha256: string }>>;
}

const stateFile = 'state.json';
const folderName = (kind: string, step: number) => `${kind}-${String(step).padStart(8, '0')}`;
const temporary = /^\.(?:step|best)-\d+\.[0-9a-f]+\.tmp$/;

/**
 * Saves a run into `folder/KIND-STEP`: written under a temporary name, synced, then renamed, so that a folder with the
 * final name is always whole.
 *
 * @param kind `step` for resuming, `best` for the best evaluated weights.
 * @returns the path of the new folder.
 */
export async function saveTrainCheckpoint(
  folder: string,
  kind: 'step' | 'best',
  state: TrainState,
  tensors: TensorGroups,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const name = folderName(kind, state.step);
  const draft = join(folder, `.${name}.${randomBytes(4).toString('hex')}.tmp`);
  await mkdir(draft);
  try {
    const files: Record<string, { bytes: number; sha256: string }> = {};
    for (const [group, variables] of Object.entries(tensors)) {
      files[`${group}.safetensors`] = await writeSafetensors(
        join(draft, `${group}.safetensors`),
        await readBack(variables),
      );
    }
    const saved: SavedState = { format: 1, ...state, files };
    await writeFileAtomic(join(draft, stateFile), `${JSON.stringify(saved, null, 2)}\n`);
    await rm(join(folder, name), { recursive: true, force: true });
    await rename(draft, join(folder, name));
    await syncFolder(folder);
    return join(folder, name);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

async function readBack(variables: ReadonlyMap<string, tf.Variable>): Promise<NamedArray[]> {
  const arrays: NamedArray[] = [];
  for (const [name, variable] of variables) {
    arrays.push({ name, shape: variable.shape, data: (await variable.data()) as Float32Array });
  }
  return arrays;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined); // Windows cannot sync a folder; its rename is durable
  await handle?.close();
}

/** The whole checkpoints of a kind in a folder, oldest first. Unfinished and damaged ones are left out. */
export async function listTrainCheckpoints(
  folder: string,
  kind: 'step' | 'best',
): Promise<{ step: number; path: string }[]> {
  const found: { step: number; path: string }[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const step = new RegExp(`^${kind}-(\\d{8,})$`).exec(name)?.[1];
    if (step && (await isWhole(join(folder, name)))) found.push({ step: Number(step), path: join(folder, name) });
  }
  return found.sort((a, b) => a.step - b.step);
}

async function isWhole(path: string): Promise<boolean> {
  try {
    const { files } = await readState(path);
    for (const [name, { bytes }] of Object.entries(files))
      if ((await stat(join(path, name))).size !== bytes) return false;
    return true;
  } catch {
    return false;
  }
}

/** The newest whole checkpoint to resume from, or undefined. */
export async function latestTrainCheckpoint(folder: string): Promise<string | undefined> {
  return (await listTrainCheckpoints(folder, 'step')).at(-1)?.path;
}

/** Reads what is not a tensor. */
export async function readTrainState(path: string): Promise<TrainState> {
  return readState(path);
}

async function readState(path: string): Promise<SavedState> {
  const text = await readFile(join(path, stateFile), 'utf8');
  const saved = JSON.parse(text) as SavedState;
  if (saved.format !== 1 || !Number.isInteger(saved.step) || typeof saved.files !== 'object') {
    throw new Error(
      `readTrainState: ${join(path, stateFile)} is not a training state of format 1; it has format ${saved.format}.`,
    );
  }
  return saved;
}

/**
 * Puts saved tensors into Variables of the same paths and shapes.
 *
 * @param path a checkpoint folder.
 * @param tensors the groups to restore; groups that are not named stay untouched.
 * @throws when a file is not the one that `state.json` describes, or a tensor is missing, left over or of another shape;
 *   then no Variable of that group has changed.
 */
export async function restoreTensors(path: string, tensors: TensorGroups): Promise<void> {
  const { files } = await readState(path);
  for (const [group, variables] of Object.entries(tensors)) {
    await checkHash(path, `${group}.safetensors`, files);
    const reader = await openCheckpoint(join(path, `${group}.safetensors`));
    try {
      const extra = reader.names.filter((name) => !variables.has(name));
      const missing = [...variables.keys()].filter((name) => !reader.names.includes(name));
      if (extra.length > 0 || missing.length > 0) {
        throw new Error(
          `restoreTensors: ${group} of ${path} does not fit the model: missing [${missing.slice(0, 5).join(', ')}], left over [${extra.slice(0, 5).join(', ')}]. Resume with the model the run was started with.`,
        );
      }
      const values = new Map<string, Float32Array>();
      for (const [name, variable] of variables) {
        const { shape } = reader.entry(name);
        if (shape.join() !== variable.shape.join()) {
          throw new Error(
            `restoreTensors: ${group} ${name} must be [${variable.shape}], the checkpoint has [${shape}].`,
          );
        }
        values.set(name, await reader.read(name));
      }
      for (const [name, variable] of variables) {
        tf.tidy(() => variable.assign(tf.tensor(values.get(name) as Float32Array, variable.shape, 'float32')));
      }
    } finally {
      await reader.close();
    }
  }
}

async function checkHash(path: string, name: string, files: SavedState['files']): Promise<void> {
  const found = await hashFile(join(path, name));
  if (found !== files[name]?.sha256) {
    throw new Error(
      `restoreTensors: ${join(path, name)} has SHA-256 ${found}, ${stateFile} says ${files[name]?.sha256}; the file was damaged or exchanged. Remove ${path} to go on from an earlier checkpoint.`,
    );
  }
}

/** Removes all but the newest `keep` checkpoints of a kind, and drafts that a killed run left. */
export async function pruneTrainCheckpoints(folder: string, kind: 'step' | 'best', keep: number): Promise<void> {
  const found = await listTrainCheckpoints(folder, kind);
  for (const { path } of found.slice(0, Math.max(0, found.length - keep)))
    await rm(path, { recursive: true, force: true });
  for (const name of await readdir(folder).catch(() => [])) {
    if (temporary.test(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}
