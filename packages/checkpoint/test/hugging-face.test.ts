import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../src/checkpoint-reader.js';
import { writeSafetensors } from '../src/safetensors-writer.js';

// A tiny Mixtral with random weights, written by save_pretrained of transformers 5.18.
const FIXTURE = fileURLToPath(new URL('./fixtures/mixtral-4x-top2', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hugging-face-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe('a checkpoint from Hugging Face', () => {
  it('is read whole', async () => {
    const reader = await openCheckpoint(FIXTURE);
    expect(reader.metadata).toEqual({ format: 'pt' });
    expect(reader.names).toContain('model.layers.0.block_sparse_moe.experts.3.w2.weight');
    for (const name of reader.names) {
      const { shape } = reader.entry(name);
      const values = await reader.read(name);
      expect(values.length, name).toBe(shape.reduce((product, d) => product * d, 1));
      expect(values.every(Number.isFinite), name).toBe(true);
    }
    await reader.close();
  });

  it('is the same after we wrote it', async () => {
    const reader = await openCheckpoint(FIXTURE);
    const tensors = await Promise.all(
      reader.names.map(async (name) => ({ name, shape: reader.entry(name).shape, data: await reader.read(name) })),
    );
    const path = join(folder, 'copy.safetensors');
    await writeSafetensors(path, tensors, reader.metadata);
    const copy = await openCheckpoint(path);
    for (const name of reader.names) expect(await copy.readRaw(name), name).toEqual(await reader.readRaw(name));
    await Promise.all([reader.close(), copy.close()]);
  });
});
