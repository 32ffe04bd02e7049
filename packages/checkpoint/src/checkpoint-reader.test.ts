import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from './checkpoint-reader.js';
import { writeSafetensors, writeShardedSafetensors } from './safetensors-writer.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const weights = [
  { name: 'b', shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, 5, -0.25) },
  { name: 'a', shape: [5], data: Int32Array.of(1, 2, 3, 4, -5) },
  { name: 'c', shape: [], data: Uint8Array.of(7) },
];

describe('openCheckpoint', () => {
  it('reads back what was written, one tensor at a time', async () => {
    const path = join(folder, 'round.safetensors');
    await writeSafetensors(path, weights, { format: 'pt' });
    const reader = await openCheckpoint(path);
    expect(reader.names).toEqual(['a', 'b', 'c']);
    expect(reader.metadata).toEqual({ format: 'pt' });
    expect(reader.entry('b')).toMatchObject({ dtype: 'F32', shape: [2, 3] });
    expect([...(await reader.read('b'))]).toEqual([1, -2, 3.5, 0, 5, -0.25]);
    expect([...new Int32Array((await reader.readRaw('a')).buffer)]).toEqual([1, 2, 3, 4, -5]);
    expect([...(await reader.readRaw('c'))]).toEqual([7]);
    await reader.close();
  });

  it('decodes F16 and BF16 to float32', async () => {
    const path = join(folder, 'half.safetensors');
    const data = Float32Array.of(1, -0.5, 3.140625);
    await writeSafetensors(path, [
      { name: 'f16', shape: [3], data, dtype: 'F16' },
      { name: 'bf16', shape: [3], data, dtype: 'BF16' },
    ]);
    const reader = await openCheckpoint(path);
    expect([...(await reader.read('f16'))]).toEqual([...data]);
    expect([...(await reader.read('bf16'))]).toEqual([...data]);
    await reader.close();
  });

  it('reads parts of a tensor into memory that is there, and says which file holds it', async () => {
    const path = join(folder, 'parts.safetensors');
    await writeSafetensors(path, weights);
    const reader = await openCheckpoint(path);
    const target = new Float32Array(3);
    await reader.readPart('b', 8, new Uint8Array(target.buffer, 4, 8));
    expect([...target]).toEqual([0, 3.5, 0]);
    expect([reader.path, reader.fileOf('b')]).toEqual([path, path]);
    await expect(reader.readPart('b', 20, new Uint8Array(5))).rejects.toThrow(
      'tensor "b": expected a part of its 24 bytes, got 5 from 20',
    );
    await reader.close();
  });

  it('reads shards as if they were one file', async () => {
    const directory = await mkdtemp(join(folder, 'shards-'));
    const shards = await writeShardedSafetensors(directory, weights, { maxShardBytes: 25 });
    expect(shards).toEqual(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
    const reader = await openCheckpoint(directory);
    expect(reader.names).toEqual(['a', 'b', 'c']);
    expect([...(await reader.read('b'))]).toEqual([1, -2, 3.5, 0, 5, -0.25]);
    await reader.close();
  });

  it('refuses a tensor that is not there, an integer tensor as float, and a read after close', async () => {
    const path = join(folder, 'refuse.safetensors');
    await writeSafetensors(path, weights);
    const reader = await openCheckpoint(path);
    expect(() => reader.entry('d')).toThrow('expected a tensor "d", got none; the file has 3 tensors, first "a"');
    await expect(reader.read('a')).rejects.toThrow('tensor "a": expected F32, F16 or BF16 to decode, got I32; readRaw');
    await reader.close();
    await expect(reader.read('b')).rejects.toThrow('tensor "b" was read after close()');
  });

  it('refuses a folder without a checkpoint and a file that is missing', async () => {
    const empty = await mkdtemp(join(folder, 'empty-'));
    await expect(openCheckpoint(empty)).rejects.toThrow(
      'expected model.safetensors or model.safetensors.index.json in this folder, got neither',
    );
    await expect(openCheckpoint(join(empty, 'x.safetensors'))).rejects.toThrow('got ENOENT');
  });

  it('refuses every truncation of a file', async () => {
    const path = join(folder, 'whole.safetensors');
    const { bytes } = await writeSafetensors(path, weights);
    const whole = await readFile(path);
    const cut = join(folder, 'cut.safetensors');
    for (let length = 0; length < bytes; length += 7) {
      await writeFile(cut, whole.subarray(0, length));
      await expect(openCheckpoint(cut), `${length} of ${bytes} bytes`).rejects.toThrow(
        /^checkpoint: .*cut\.safetensors/,
      );
    }
  });
});

describe('openCheckpoint with an index', () => {
  async function indexed(weightMap: Record<string, unknown>): Promise<string> {
    const directory = await mkdtemp(join(folder, 'index-'));
    await writeSafetensors(join(directory, 'one.safetensors'), [weights[0]]);
    await writeSafetensors(join(directory, 'two.safetensors'), [weights[1]]);
    await writeFile(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    return directory;
  }

  it.each([
    '../one.safetensors',
    '/etc/one.safetensors',
    'sub/one.safetensors',
    'sub\\one.safetensors',
    'o\nne.safetensors',
    'o\x1bne.safetensors',
    '\x7f.safetensors',
    '..',
    7,
  ])('refuses a shard named %j', async (shard) => {
    await expect(openCheckpoint(await indexed({ b: shard }))).rejects.toThrow(
      `tensor "b": expected the shard to be a plain file name ending in .safetensors, got ${JSON.stringify(shard).replace('\x7f', '\\u007f')}`,
    );
  });

  it('refuses a tensor the shard lacks, and one the index does not list', async () => {
    await expect(openCheckpoint(await indexed({ b: 'one.safetensors', z: 'one.safetensors' }))).rejects.toThrow(
      /one\.safetensors: tensor "z": expected here by .*index\.json, got a shard without it/,
    );
    await expect(openCheckpoint(await indexed({ b: 'one.safetensors', a: 'one.safetensors' }))).rejects.toThrow(
      'tensor "a": expected here by',
    );
    const directory = await indexed({ b: 'one.safetensors' });
    await writeSafetensors(join(directory, 'one.safetensors'), [weights[0], weights[1]]);
    await expect(openCheckpoint(directory)).rejects.toThrow(
      /tensor "a": expected only tensors that .* got one it does not list/,
    );
  });

  it('refuses a tensor that two shards hold, or that lies in another shard than the index says', async () => {
    const directory = await indexed({ b: 'one.safetensors', a: 'two.safetensors' });
    await writeSafetensors(join(directory, 'two.safetensors'), [weights[0], weights[1]]);
    await expect(openCheckpoint(directory)).rejects.toThrow(
      /^checkpoint: .*two\.safetensors: tensor "b": expected only .* got one it places in one\.safetensors/,
    );
    await expect(openCheckpoint(await indexed({ b: 'two.safetensors', a: 'one.safetensors' }))).rejects.toThrow(
      /one\.safetensors: tensor "b": .* got one it places in two\.safetensors/,
    );
  });

  it('refuses a damaged shard by its own name', async () => {
    const directory = await indexed({ b: 'one.safetensors', a: 'two.safetensors' });
    await truncate(join(directory, 'two.safetensors'), 31);
    await expect(openCheckpoint(directory)).rejects.toThrow(/^checkpoint: .*two\.safetensors: expected a header of/);
  });

  it('refuses a missing shard and an index that is not one', async () => {
    await expect(openCheckpoint(await indexed({ b: 'three.safetensors' }))).rejects.toThrow(
      /^checkpoint: .*three\.safetensors: tensor "b": expected this shard by .*index\.json, got ENOENT; fetch the shard/,
    );
    const directory = await indexed({});
    await expect(openCheckpoint(directory)).rejects.toThrow('expected at least one tensor in weight_map, got none');
    const index = join(directory, 'model.safetensors.index.json');
    await writeFile(index, Uint8Array.of(0x7b, 0xff, 0x7d));
    await expect(openCheckpoint(index)).rejects.toThrow('got bytes that are not UTF-8');
    await truncate(index, 100_000_001);
    await expect(openCheckpoint(index)).rejects.toThrow(
      'index.json: expected a readable JSON file of at most 100000000 bytes, got 100000001 bytes',
    );
    await expect(openCheckpoint(join(directory, 'x.index.json'))).rejects.toThrow(
      /^checkpoint: .*x\.index\.json: expected a readable JSON file of at most 100000000 bytes, got ENOENT/,
    );
    await mkdir(join(directory, 'y.index.json'));
    await expect(openCheckpoint(join(directory, 'y.index.json'))).rejects.toThrow('got something that is no file');
    await writeFile(index, `{"weight_map": ${'['.repeat(20011)}${']'.repeat(20011)}}`);
    await expect(openCheckpoint(index)).rejects.toThrow('expected an object under "weight_map"');
    await writeFile(index, '{"weight_map": [');
    await expect(openCheckpoint(index)).rejects.toThrow('expected JSON, got text that does not parse');
    await writeFile(index, '{"weight_map":{"b":"one.safetensors","b":"two.safetensors"}}');
    await expect(openCheckpoint(index)).rejects.toThrow('got "weight_map.b" twice');
  });
});
