import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bfloat16ToFloat32 } from './bfloat16.js';
import { isFloatDtype } from './dtype.js';
import { float16ToFloat32 } from './float16.js';
import type { TensorEntry } from './header.js';
import { SafetensorsFile } from './safetensors-file.js';
import { parseShardIndex } from './shard-index.js';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** As long as a header may be; an index says less of each tensor. */
const MAX_INDEX_BYTES = 100_000_000;

/** An open checkpoint: every header checked, no tensor read yet. */
export interface CheckpointReader {
  /** Every tensor's name, sorted. */
  readonly names: readonly string[];
  /** The metadata of the file, or of all shards merged in the order of their names. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The file, or the index of the shards. */
  readonly path: string;
  /** Where a tensor lies and what it is. Throws if the checkpoint has no such tensor. */
  entry(name: string): TensorEntry;
  /** The file that holds a tensor. Throws if the checkpoint has no such tensor. */
  fileOf(name: string): string;
  /** Reads one tensor, decoded from F32, F16 or BF16 to float32. The array is the caller's. */
  read(name: string): Promise<Float32Array>;
  /** Reads one tensor's bytes as stored, little-endian. The array is the caller's. */
  readRaw(name: string): Promise<Uint8Array>;
  /** Fills `target` with a tensor's bytes as stored, from `offset` on: for reading in parts, into memory that is used again. */
  readPart(name: string, offset: number, target: Uint8Array): Promise<void>;
  /** Closes the files. Reading afterwards throws. */
  close(): Promise<void>;
}

class OpenCheckpoint implements CheckpointReader {
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  private readonly located = new Map<string, { entry: TensorEntry; file: SafetensorsFile }>();
  private closed = false;

  constructor(
    readonly path: string,
    private readonly files: readonly SafetensorsFile[],
  ) {
    for (const file of files) {
      for (const entry of file.header.tensors) this.located.set(entry.name, { entry, file });
    }
    this.names = [...this.located.keys()].sort();
    // fromEntries, as an assignment would lose a key named __proto__.
    this.metadata = Object.fromEntries(files.flatMap((file) => Object.entries(file.header.metadata)));
  }

  private locate(name: string): { entry: TensorEntry; file: SafetensorsFile } {
    const found = this.located.get(name);
    if (found) return found;
    throw new Error(
      `checkpoint: ${this.path}: expected a tensor "${name}", got none; the file has ${this.names.length} tensors, first "${this.names[0]}".`,
    );
  }

  entry(name: string): TensorEntry {
    return this.locate(name).entry;
  }

  fileOf(name: string): string {
    return this.locate(name).file.path;
  }

  private open(name: string): { entry: TensorEntry; file: SafetensorsFile } {
    const located = this.locate(name);
    if (this.closed) throw new Error(`checkpoint: ${this.path}: tensor "${name}" was read after close().`);
    return located;
  }

  async readRaw(name: string): Promise<Uint8Array> {
    const { entry, file } = this.open(name);
    return file.read(entry);
  }

  async readPart(name: string, offset: number, target: Uint8Array): Promise<void> {
    const { entry, file } = this.open(name);
    await file.readPart(entry, offset, target);
  }

  async read(name: string): Promise<Float32Array> {
    const { dtype } = this.entry(name);
    if (!isFloatDtype(dtype)) {
      throw new Error(
        `checkpoint: ${this.path}: tensor "${name}": expected F32, F16 or BF16 to decode, got ${dtype}; readRaw gives its bytes.`,
      );
    }
    const { buffer } = await this.readRaw(name);
    if (dtype === 'F32') return new Float32Array(buffer);
    return dtype === 'F16' ? float16ToFloat32(new Uint16Array(buffer)) : bfloat16ToFloat32(new Uint16Array(buffer));
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await Promise.all(this.files.map((file) => file.close()));
  }
}

/** Opens every path, or none: a failure closes what was opened. */
async function openAll(paths: readonly string[]): Promise<SafetensorsFile[]> {
  const opened: SafetensorsFile[] = [];
  try {
    for (const path of paths) opened.push(await SafetensorsFile.open(path));
    return opened;
  } catch (error) {
    await Promise.all(opened.map((file) => file.close()));
    throw error;
  }
}

/** The index and the shards must tell the same story. */
function checkShard(shard: string, file: SafetensorsFile, index: ReadonlyMap<string, string>, indexPath: string): void {
  const present = new Set(file.header.tensors.map(({ name }) => name));
  for (const name of present) {
    const expected = index.get(name);
    if (expected === shard) continue;
    throw new Error(
      `checkpoint: ${file.path}: tensor "${name}": expected only tensors that ${indexPath} places here, got one it ${expected === undefined ? 'does not list' : `places in ${expected}`}.`,
    );
  }
  for (const [name, place] of index) {
    if (place === shard && !present.has(name)) {
      throw new Error(
        `checkpoint: ${file.path}: tensor "${name}": expected here by ${indexPath}, got a shard without it; fetch the shard again.`,
      );
    }
  }
}

/** The index's text, refused before it is read if it is no file or longer than any index. */
async function readIndex(indexPath: string): Promise<string> {
  const refused = (found: string, cause?: unknown): Error =>
    new Error(
      `checkpoint: ${indexPath}: expected a readable JSON file of at most ${MAX_INDEX_BYTES} bytes, got ${found}.`,
      { cause },
    );
  const found = await stat(indexPath).catch((cause: NodeJS.ErrnoException) => {
    throw refused(cause.code ?? cause.message, cause);
  });
  if (!found.isFile()) throw refused('something that is no file');
  if (found.size > MAX_INDEX_BYTES) throw refused(`${found.size} bytes`);
  const bytes = await readFile(indexPath);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw refused('bytes that are not UTF-8', cause);
  }
}

/** Every shard that the index names must lie beside it. */
async function checkPresence(index: ReadonlyMap<string, string>, indexPath: string): Promise<void> {
  const seen = new Set<string>();
  for (const [tensor, shard] of index) {
    if (seen.has(shard)) continue;
    seen.add(shard);
    const path = join(dirname(indexPath), shard);
    await stat(path).catch((cause: NodeJS.ErrnoException) => {
      throw new Error(
        `checkpoint: ${path}: tensor "${tensor}": expected this shard by ${indexPath}, got ${cause.code ?? cause.message}; fetch the shard.`,
        { cause },
      );
    });
  }
}

async function openShards(indexPath: string): Promise<CheckpointReader> {
  const index = parseShardIndex(await readIndex(indexPath), indexPath);
  await checkPresence(index, indexPath);
  const shards = [...new Set(index.values())].sort();
  const files = await openAll(shards.map((shard) => join(dirname(indexPath), shard)));
  try {
    files.forEach((file, i) => {
      checkShard(shards[i], file, index, indexPath);
    });
    return new OpenCheckpoint(indexPath, files);
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Opens a checkpoint and checks all of it but the tensors' values. Tensors are read one at a time, on demand.
 *
 * @param path a `.safetensors` file, a `.index.json` file, or a folder with `model.safetensors` or
 *   `model.safetensors.index.json` (the single file wins, as in Hugging Face's loaders).
 * @returns the reader; the caller closes it.
 * @throws if a file is missing, truncated or malformed, or index and shards disagree: the error names file and tensor.
 */
export async function openCheckpoint(path: string): Promise<CheckpointReader> {
  if (path.endsWith('.index.json')) return openShards(path);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) return new OpenCheckpoint(path, await openAll([path]));
  const single = join(path, SINGLE);
  if (await exists(single)) return new OpenCheckpoint(single, await openAll([single]));
  if (await exists(join(path, INDEX))) return openShards(join(path, INDEX));
  throw new Error(`checkpoint: ${path}: expected ${SINGLE} or ${INDEX} in this folder, got neither.`);
}
