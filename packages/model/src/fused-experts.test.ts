import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { type NamedArray, openCheckpoint, writeSafetensors } from '@therapeutic-moe/checkpoint';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { logitsOf } from '../test/tiny-model.js';
import { loadModelDirectory } from './index.js';

const ids = [3, 1, 4, 1, 5, 9, 2, 6];
const fixture = (name: string) => fileURLToPath(new URL(`../test/fixtures/${name}`, import.meta.url));

async function tensorsOf(directory: string): Promise<NamedArray[]> {
  const reader = await openCheckpoint(directory);
  const tensors: NamedArray[] = [];
  for (const name of reader.names)
    tensors.push({ name, shape: reader.entry(name).shape, data: await reader.read(name) });
  await reader.close();
  return tensors;
}

/** Matrices of the same width, one below the other. */
function stack(tensors: readonly NamedArray[]): Float32Array {
  return Float32Array.from(tensors.flatMap(({ data }) => [...(data as Float32Array)]));
}

/** Puts the experts of each layer into two tensors, as transformers 5 keeps them: gate above up, expert by expert. */
function fuse(tensors: readonly NamedArray[], names: readonly [gate: string, up: string, down: string]): NamedArray[] {
  const of = (layer: string, name: string) =>
    tensors.filter((tensor) => tensor.name.startsWith(`${layer}.`) && tensor.name.endsWith(`.${name}.weight`));
  const layers = new Set(tensors.flatMap(({ name }) => /^(.+\.experts)\.\d+\./.exec(name)?.[1] ?? []));
  const fused = [...layers].flatMap((layer) => {
    const [gate, up, down] = names.map((name) => of(layer, name)) as [NamedArray[], NamedArray[], NamedArray[]];
    const [inner, hidden] = gate[0]!.shape as [number, number];
    const pairs = gate.flatMap((one, expert) => [one, up[expert]!]);
    return [
      { name: `${layer}.gate_up_proj`, shape: [gate.length, 2 * inner, hidden], data: stack(pairs) },
      { name: `${layer}.down_proj`, shape: [gate.length, hidden, inner], data: stack(down) },
    ];
  });
  return [...tensors.filter(({ name }) => !/\.experts\.\d+\./.test(name)), ...fused];
}

const mixtral = ['w1', 'w3', 'w2'] as const;
const qwen = ['gate_proj', 'up_proj', 'down_proj'] as const;

describeOnBackends('a checkpoint whose experts are fused', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'fused-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function write(name: string, change: (tensors: NamedArray[]) => NamedArray[]): Promise<void> {
    await copyFile(join(fixture(name), 'config.json'), join(directory, 'config.json'));
    await writeSafetensors(join(directory, 'model.safetensors'), change(await tensorsOf(fixture(name))));
  }

  it.each<[string, string, (tensors: NamedArray[]) => NamedArray[]]>([
    ['Mixtral', 'mixtral-7x-top3', (all) => fuse(all, mixtral)],
    [
      'Mixtral under the names of its modules',
      'mixtral-4x-top2',
      (all) =>
        fuse(all, mixtral).map((tensor) => ({ ...tensor, name: tensor.name.replace('block_sparse_moe', 'mlp') })),
    ],
    ['Qwen2-MoE', 'qwen2-moe-shared', (all) => fuse(all, qwen)],
  ])('gives the same logits, bit for bit: %s', async (_, name, change) => {
    await write(name, change);
    const [apart, fused] = [await loadModelDirectory(fixture(name)), await loadModelDirectory(directory)];
    expect(await logitsOf(fused, ids)).toEqual(await logitsOf(apart, ids));
    apart.dispose();
    fused.dispose();
  });

  it('is refused when a tensor of a layer is missing or of another shape', async () => {
    const before = tf.memory().numTensors;
    const down = 'model.layers.1.block_sparse_moe.experts.down_proj';
    await write('mixtral-4x-top2', (all) => fuse(all, mixtral).filter(({ name }) => name !== down));
    await expect(loadModelDirectory(directory)).rejects.toThrow(`lacks ${down} [4,40,56]`);
    await write('mixtral-4x-top2', (all) =>
      fuse(all, mixtral).map((one) => (one.name === down ? { ...one, shape: [4, 56, 40] } : one)),
    );
    await expect(loadModelDirectory(directory)).rejects.toThrow(
      `${down} must be [4,40,56] by config.json, got [4,56,40].`,
    );
    expect(tf.memory().numTensors).toBe(before);
  });
});
