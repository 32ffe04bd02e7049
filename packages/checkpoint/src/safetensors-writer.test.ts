import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from './checkpoint-reader.js';
import { parseHeader } from './header.js';
import { type NamedArray, type PendingArray, writeSafetensors, writeShardedSafetensors } from './safetensors-writer.js';
import { replaceFile, writeFileAtomic } from './write-file-atomic.js';

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'writer-'));
  path = join(folder, 'model.safetensors');
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const a: NamedArray = { name: 'a', shape: [2], data: Float32Array.of(1, 2) };
const b: NamedArray = { name: 'b', shape: [3], data: Float32Array.of(3, 4, 5), dtype: 'F16' };
const c: NamedArray = { name: 'c', shape: [5], data: Uint8Array.of(1, 2, 3, 4, 5) };

describe('writeSafetensors', () => {
  it('gives the same bytes for the same tensors in any order, and says what they are', async () => {
    const first = await writeSafetensors(path, [a, b, c], { z: '1', y: '2' });
    const bytes = await readFile(path);
    const second = await writeSafetensors(path, new Set([c, b, a]), { y: '2', z: '1' });
    expect(second).toEqual(first);
    expect(first).toEqual({ bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
  });

  it('starts every tensor at a multiple of its element size', async () => {
    await writeSafetensors(path, [c, b, a]);
    const bytes = await readFile(path);
    const { tensors, dataStart } = parseHeader(bytes, bytes.length);
    expect(tensors.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(dataStart % 8).toBe(0);
    expect(tensors.map(({ start }) => start - dataStart)).toEqual([0, 8, 14]);
  });

  it('streams a tensor longer than one chunk', async () => {
    const data = new Float32Array(2 ** 20 + 7).map((_, i) => i % 1024);
    await writeSafetensors(path, [{ name: 'long', shape: [data.length], data, dtype: 'BF16' }]);
    const reader = await openCheckpoint(path);
    const back = await reader.read('long');
    await reader.close();
    expect(back.length).toBe(data.length);
    expect(back[2 ** 20 + 5]).toBe(5);
    expect(back[255]).toBe(255);
  });

  it('keeps the order of names that look like numbers', async () => {
    const named = (name: string): NamedArray => ({ name, shape: [1], data: Float32Array.of(Number(name)) });
    await writeSafetensors(path, ['10', '2', '1'].map(named));
    const reader = await openCheckpoint(path);
    expect(await Promise.all(['1', '2', '10'].map(async (name) => (await reader.read(name))[0]))).toEqual([1, 2, 10]);
    await reader.close();
  });

  it.each<[NamedArray[], string]>([
    [[a, { ...b, name: 'a' }], 'writing tensor "a": expected every name once, got it twice'],
    [[{ ...a, shape: [2, 3] }], 'writing tensor "a": expected 6 values for shape [2, 3], got 2'],
    [
      [{ ...a, shape: [-1, -2] }],
      'expected a shape of whole numbers from 0 up, together below 2^53 bytes, got [-1, -2]',
    ],
    [[{ ...a, dtype: 'I32' }], 'writing tensor "a": expected dtype F32 or F16 or BF16 for a Float32Array, got I32'],
    [[{ ...c, dtype: 'F32' }], 'writing tensor "c": expected dtype U8 for a Uint8Array, got F32'],
    [[{ ...a, name: 'a\ud83e' }], 'expected a name of whole characters, got half a surrogate pair'],
    [[{ ...a, name: '__metadata__' }], 'expected another name, the format reserves this one'],
    [
      [{ ...a, dtype: 'F16', data: Float32Array.of(1, 70000) }],
      'writing tensor "a": expected values within ±65504 for F16, got 70000; store it as BF16 or F32',
    ],
  ])('refuses %j and leaves the old file', async (tensors, message) => {
    await writeFile(path, 'old');
    await expect(writeSafetensors(path, tensors)).rejects.toThrow(message);
    expect(await readFile(path, 'utf8')).toBe('old');
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('asks for pending tensors one by one, in the order of the file, and writes the same bytes', async () => {
    const events: string[] = [];
    const pending = ({ name, shape, data, dtype }: NamedArray): PendingArray => ({
      ...{ name, shape, dtype: dtype ?? (data instanceof Uint8Array ? 'U8' : 'F32') },
      read: async () => {
        events.push(`${name} asked`);
        await new Promise((resolve) => setTimeout(resolve, 1));
        events.push(`${name} given`);
        return data;
      },
    });
    const first = await writeSafetensors(path, [a, b, c]);
    const second = await writeSafetensors(path, [pending(c), a, pending(b)]);
    expect(second).toEqual(first);
    expect(events).toEqual(['b asked', 'b given', 'c asked', 'c given']);
  });

  it.each<[PendingArray['dtype'], PendingArray['read'], string]>([
    ['F32', async () => Float32Array.of(1), 'writing tensor "late": expected 2 values for shape [2], got 1'],
    ['U8', async () => Float32Array.of(1, 2), 'expected dtype F32 or F16 or BF16 for a Float32Array, got U8'],
    ['F32', () => Promise.reject(new Error('the device is gone')), 'the device is gone'],
  ])('refuses a pending %s that comes as something else, and leaves the old file', async (dtype, read, message) => {
    await writeFile(path, 'old');
    await expect(writeSafetensors(path, [a, { name: 'late', shape: [2], dtype, read }])).rejects.toThrow(message);
    expect(await readFile(path, 'utf8')).toBe('old');
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('stores infinities in F16 as they are', async () => {
    const data = Float32Array.of(Number.NEGATIVE_INFINITY, 65504);
    await writeSafetensors(path, [{ name: 'mask', shape: [2], data, dtype: 'F16' }]);
    const reader = await openCheckpoint(path);
    expect([...(await reader.read('mask'))]).toEqual([...data]);
    await reader.close();
  });
});

describe('writeShardedSafetensors', () => {
  it('writes an index with every tensor and the total size', async () => {
    const directory = await mkdtemp(join(folder, 'shards-'));
    await writeShardedSafetensors(directory, [a, b, c], { maxShardBytes: 14, metadata: { format: 'pt' } });
    expect(JSON.parse(await readFile(join(directory, 'model.safetensors.index.json'), 'utf8'))).toEqual({
      metadata: { total_size: 19 },
      weight_map: {
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00001-of-00002.safetensors',
        c: 'model-00002-of-00002.safetensors',
      },
    });
    const reader = await openCheckpoint(directory);
    expect(reader.metadata).toEqual({ format: 'pt' });
    await reader.close();
  });

  it('refuses a size that holds nothing', async () => {
    await expect(writeShardedSafetensors(folder, [a], { maxShardBytes: 0 })).rejects.toThrow(
      'maxShardBytes: expected a positive number of bytes, got 0',
    );
  });
});

describe('writeFileAtomic', () => {
  it('replaces a file and leaves nothing beside it', async () => {
    const directory = await mkdtemp(join(folder, 'atomic-'));
    const file = join(directory, 'state.json');
    await writeFileAtomic(file, 'första');
    await writeFileAtomic(file, Uint8Array.of(111, 107));
    expect(await readFile(file, 'utf8')).toBe('ok');
    expect(await readdir(directory)).toEqual(['state.json']);
  });

  it('keeps the old file if filling the new one fails half way', async () => {
    const directory = await mkdtemp(join(folder, 'broken-'));
    const file = join(directory, 'state.json');
    await writeFileAtomic(file, 'old');
    const failing = replaceFile(file, async (handle) => {
      await handle.write('ne');
      expect(await readFile(file, 'utf8')).toBe('old');
      throw new Error('disk full');
    });
    await expect(failing).rejects.toThrow('disk full');
    expect(await readFile(file, 'utf8')).toBe('old');
    expect(await readdir(directory)).toEqual(['state.json']);
  });
});
