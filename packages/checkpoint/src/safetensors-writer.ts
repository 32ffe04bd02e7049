import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { float32ToBfloat16 } from './bfloat16.js';
import { bytesPerElement } from './dtype.js';
import { float32ToFloat16 } from './float16.js';
import { isShape } from './shape.js';
import { shown } from './shown.js';
import { replaceFile, writeAll, writeFileAtomic } from './write-file-atomic.js';

/** The types the writer stores. */
export type WritableDtype = 'F32' | 'F16' | 'BF16' | 'I32' | 'U8';

/** A tensor to write. */
export interface NamedArray {
  /** Its name in the file. */
  readonly name: string;
  /** Its dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /** Its values in row-major order. Only read, never kept. */
  readonly data: Float32Array | Int32Array | Uint8Array;
  /** The type to store: F32 (the default), F16 or BF16 for a Float32Array, I32 for an Int32Array, U8 for a Uint8Array. */
  readonly dtype?: WritableDtype;
}

/** A tensor to write whose values are asked for when its turn comes, so that they need not all be in memory at once. */
export interface PendingArray {
  /** Its name in the file. */
  readonly name: string;
  /** Its dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /** The type to store; `read` must give an array that fits it, as with {@link NamedArray}. */
  readonly dtype: WritableDtype;
  /** Called once. Its values in row-major order, which are only read. */
  read(): Promise<NamedArray['data']>;
}

/** What was written. */
export interface WrittenFile {
  /** Size of the file. */
  readonly bytes: number;
  /** SHA-256 of the whole file, in hexadecimal. */
  readonly sha256: string;
}

/** How {@link writeShardedSafetensors} cuts. */
export interface ShardOptions {
  /** The most bytes of tensor data in one shard; a tensor larger than that gets a shard of its own. */
  readonly maxShardBytes: number;
  /** Free text pairs, written into every shard. */
  readonly metadata?: Readonly<Record<string, string>>;
}

interface Planned extends PendingArray {
  readonly bytes: number;
}

/** Elements converted at a time, so that a large tensor never exists twice in memory. */
const CHUNK = 2 ** 20;

function fittingDtypes(data: NamedArray['data']): WritableDtype[] {
  if (data instanceof Float32Array) return ['F32', 'F16', 'BF16'];
  return data instanceof Int32Array ? ['I32'] : ['U8'];
}

/** @throws when the array is not what shape and dtype say. */
function checkData({ name, shape, dtype }: Omit<PendingArray, 'read'>, data: NamedArray['data']): void {
  const where = `checkpoint: writing tensor "${name}"`;
  const size = sizeOf(shape);
  if (size !== data.length) {
    throw new Error(`${where}: expected ${size} values for shape [${shape.join(', ')}], got ${data.length}.`);
  }
  const fitting = fittingDtypes(data);
  if (!fitting.includes(dtype)) {
    throw new Error(`${where}: expected dtype ${fitting.join(' or ')} for a ${data.constructor.name}, got ${dtype}.`);
  }
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, d) => product * d, 1);
}

/** What is at hand is checked now, what is pending when it comes. */
function asPending(tensor: NamedArray | PendingArray): PendingArray {
  if (!('data' in tensor)) return tensor;
  const { name, shape, data } = tensor;
  const pending = { name, shape, dtype: tensor.dtype ?? fittingDtypes(data)[0], read: async () => data };
  checkData(pending, data);
  return pending;
}

function plan(tensors: Iterable<NamedArray | PendingArray>): Planned[] {
  const planned = new Map<string, Planned>();
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    const where = `checkpoint: writing tensor "${name}"`;
    if (name === '__metadata__') throw new Error(`${where}: expected another name, the format reserves this one.`);
    if (planned.has(name)) throw new Error(`${where}: expected every name once, got it twice.`);
    if (!name.isWellFormed())
      throw new Error(`${where}: expected a name of whole characters, got half a surrogate pair.`);
    if (!isShape(shape)) {
      throw new Error(
        `${where}: expected a shape of whole numbers from 0 up, together below 2^53 bytes, got ${shown(shape)}.`,
      );
    }
    const pending = asPending(tensor);
    const { dtype } = pending;
    planned.set(name, {
      name,
      shape,
      dtype,
      read: () => pending.read(),
      bytes: sizeOf(shape) * bytesPerElement(dtype),
    });
  }
  // Wide types first, as the reference writer does, so that every tensor starts at a multiple of its element's size.
  return [...planned.values()].sort(
    (a, b) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || (a.name < b.name ? -1 : 1),
  );
}

function headerBytes(tensors: readonly Planned[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries: [string, unknown][] = [];
  const pairs = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  if (pairs.length) entries.push(['__metadata__', Object.fromEntries(pairs)]);
  let position = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    entries.push([name, { dtype, shape, data_offsets: [position, position + bytes] }]);
    position += bytes;
  }
  // Written key by key: an object would move keys that look like numbers to the front.
  const json = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const text = new TextEncoder().encode(json);
  const padded = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(text, 8);
  return bytes;
}

function refuseOverflow(name: string, values: Float32Array, halves: Uint16Array): void {
  for (let i = 0; i < halves.length; i++) {
    if ((halves[i] & 0x7fff) === 0x7c00 && Number.isFinite(values[i])) {
      throw new Error(
        `checkpoint: writing tensor "${name}": expected values within ±65504 for F16, got ${values[i]}; store it as BF16 or F32.`,
      );
    }
  }
}

/** The bytes of one chunk as they go to disk. */
function encodeChunk({ name, dtype }: Planned, data: NamedArray['data'], start: number): Uint8Array {
  const chunk = data.subarray(start, start + CHUNK);
  let stored: Float32Array | Int32Array | Uint8Array | Uint16Array = chunk;
  if (dtype === 'BF16') stored = float32ToBfloat16(chunk as Float32Array);
  if (dtype === 'F16') {
    stored = float32ToFloat16(chunk as Float32Array);
    refuseOverflow(name, chunk as Float32Array, stored);
  }
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

async function writePlanned(
  path: string,
  tensors: readonly Planned[],
  metadata: Readonly<Record<string, string>>,
): Promise<WrittenFile> {
  return replaceFile(path, async (file) => {
    const hash = createHash('sha256');
    let bytes = 0;
    const put = async (part: Uint8Array): Promise<void> => {
      hash.update(part);
      await writeAll(file, part);
      bytes += part.length;
    };
    await put(headerBytes(tensors, metadata));
    for (const tensor of tensors) {
      const data = await tensor.read();
      checkData(tensor, data);
      for (let start = 0; start < data.length; start += CHUNK) await put(encodeChunk(tensor, data, start));
    }
    return { bytes, sha256: hash.digest('hex') };
  });
}

/**
 * Writes a safetensors file. The same tensors give the same bytes, whatever their order: wide types first, then by
 * name. The file appears whole or not at all (temporary file, fsync, rename), and is streamed: the header is written from
 * the shapes, then one tensor after the other, a chunk at a time. Of pending tensors one is in memory at any moment.
 *
 * @param path the file to make or replace; its folder must exist.
 * @param tensors the tensors, in memory or pending; their arrays are only read.
 * @param metadata free text pairs for `__metadata__`.
 * @returns size and SHA-256 of the file.
 * @throws if a name occurs twice or holds half a surrogate pair, a shape does not fit its data, a dtype does not fit its
 *   array, or a finite value overflows F16; an existing file is then untouched.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<NamedArray | PendingArray>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<WrittenFile> {
  return writePlanned(path, plan(tensors), metadata);
}

/**
 * Writes a checkpoint as shards `model-00001-of-0000N.safetensors` and, last, `model.safetensors.index.json`.
 *
 * @param directory the folder, which must exist.
 * @param tensors the tensors, in memory or pending; their arrays are only read.
 * @returns the shards' file names.
 * @throws as {@link writeSafetensors}, or if `maxShardBytes` is not a positive number.
 */
export async function writeShardedSafetensors(
  directory: string,
  tensors: Iterable<NamedArray | PendingArray>,
  { maxShardBytes, metadata = {} }: ShardOptions,
): Promise<string[]> {
  if (!(maxShardBytes > 0)) {
    throw new Error(`checkpoint: maxShardBytes: expected a positive number of bytes, got ${maxShardBytes}.`);
  }
  const shards: Planned[][] = [];
  let room = 0;
  for (const tensor of plan(tensors)) {
    if (shards.length === 0 || tensor.bytes > room) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= tensor.bytes;
  }
  const digits = (n: number): string => String(n).padStart(5, '0');
  const names = shards.map((_, i) => `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`);
  const weightMap: [string, string][] = [];
  let totalSize = 0;
  for (const [i, shard] of shards.entries()) {
    await writePlanned(join(directory, names[i]), shard, metadata);
    for (const { name, bytes } of shard) {
      weightMap.push([name, names[i]]);
      totalSize += bytes;
    }
  }
  weightMap.sort(([a], [b]) => (a < b ? -1 : 1));
  const index = { metadata: { total_size: totalSize }, weight_map: Object.fromEntries(weightMap) };
  await writeFileAtomic(join(directory, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`);
  return names;
}
