import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { openCheckpoint } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logitsOf, tinyModel } from '../../test/tiny-model.js';
import { writeStored } from '../../test/write-stored.js';
import { type DomainPrompt, loadModelDirectory, saveModelDirectory, upcycleDirectory } from '../index.js';

/** What the issue promises of step 0: equal experts, whose weights sum to 1, are the dense layer. */
const LOGIT = 1e-4;

const fixture = fileURLToPath(new URL('../../test/fixtures/mistral-nemo-shape/', import.meta.url));
const expected = JSON.parse(readFileSync(`${fixture}expected.json`, 'utf8'));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'upcycle-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
const newFolder = () => join(folder, `output-${count++}`);

const prompts: DomainPrompt[] = [0, 1, 2, 3].map((domain) => ({
  domain,
  ids: [1, 5 + domain, 11 + 3 * domain, 40 - domain],
}));
const mixture = { numExperts: 4, numExpertsPerTok: 2 };

/** The tensors of a checkpoint by name, in float32. */
async function tensorsOf(directory: string): Promise<Map<string, Float32Array>> {
  const reader = await openCheckpoint(directory);
  const tensors = new Map<string, Float32Array>();
  for (const name of reader.names) tensors.set(name, await reader.read(name));
  await reader.close();
  return tensors;
}

describeOnBackends('upcycleDirectory', () => {
  it.each([
    ['one layer, routed at random', { layers: [1] }, undefined],
    ['one layer, routed by prompts', { layers: [1] }, prompts],
    ['every layer, routed by prompts', {}, prompts],
  ] as const)("equals transformers' logits of the dense model: %s", async (_, { ...more }, given) => {
    const before = tf.memory().numTensors;
    const output = newFolder();
    const made = await upcycleDirectory(fixture, output, { mixture: { ...mixture, ...more }, prompts: given, seed: 7 });
    expect(tf.memory().numTensors).toBe(before);
    expect(made.layers.map(({ layer }) => layer)).toEqual('layers' in more ? [1] : [0, 1]);
    const model = await loadModelDirectory(output);
    expect(model.config).toEqual(made.config);
    const logits = await logitsOf(model, expected.ids);
    await expectClose(logits.slice(-expected.logits.length), expected.logits, LOGIT);
    const dense = await loadModelDirectory(fixture);
    await expectClose(logits, await logitsOf(dense, expected.ids), LOGIT);
    dense.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('sends prompts that it has not seen to the expert of their domain, where domains differ', async () => {
    const base = await domainModel();
    const output = newFolder();
    const of = (domain: number, from: number) => ({
      domain,
      ids: [0, ...[0, 1, 2, 3, 4].map((i) => wordOf(domain, from + i))],
    });
    const seen = [0, 1, 2].flatMap((domain) => [of(domain, 0), of(domain, 3)]);
    const { layers } = await upcycleDirectory(base, output, {
      mixture: { numExperts: 3, numExpertsPerTok: 2, layers: [0, 2] },
      prompts: seen,
      seed: 7,
    });
    for (const { agreement } of layers) expect(agreement).toBeGreaterThan(0.8);
    const model = await loadModelDirectory(output);
    for (const domain of [0, 1, 2]) {
      const { ids } = of(domain, 10);
      const { logits, routings } = model.forward(tf.tensor2d([ids], [1, ids.length], 'int32'));
      for (const { indices, logits: gates } of routings) {
        const first = [...(await indices.data())].filter((__, i) => i % 2 === 0).slice(1);
        expect(first.filter((expert) => expert === domain).length / first.length).toBeGreaterThan(0.7); // by chance 1/3
        const spread = Math.sqrt(
          [...(await gates.data())].reduce((sum, x, __, { length }) => sum + x ** 2 / length, 0),
        );
        expect(spread).toBeGreaterThan(0.3);
        expect(spread).toBeLessThan(3);
      }
      tf.dispose([logits, ...routings]);
    }
    model.dispose();
  });
});

/** Words of a vocabulary of 64: 21 for each of 3 domains, and one that starts a text. */
const wordOf = (domain: number, word: number) => 1 + 21 * domain + word;

/** A dense model whose embeddings lie around a centre of their domain, half as far from it as from the other centres. */
async function domainModel(): Promise<string> {
  const model = tinyModel({
    ...{ vocabSize: 64, hiddenSize: 20, intermediateSize: 14, numHiddenLayers: 3, initializerRange: 0.2 },
    mixture: undefined,
  });
  tf.tidy(() => {
    const centres = tf.concat([
      tf.zeros([1, 20]),
      ...[0, 1, 2].map((d) => tf.tile(tf.randomNormal([1, 20], 0, 1, 'float32', 31 + d), [21, 1])),
    ]);
    const table = tf.add(centres, tf.randomNormal([64, 20], 0, 0.7, 'float32', 37));
    model.parameters().get('model.embed_tokens.weight')!.assign(tf.add(table, 0.5));
  });
  const directory = newFolder();
  await saveModelDirectory(model, directory);
  model.dispose();
  return directory;
}

describe('an upcycled checkpoint', () => {
  it('holds the base as it is stored, with equal experts', async () => {
    const dense = tinyModel({ mixture: undefined });
    const base = newFolder();
    await saveModelDirectory(dense, base, { dtype: 'BF16' });
    dense.dispose();
    const output = newFolder();
    const { dtype } = await upcycleDirectory(base, output, {
      mixture: { numExperts: 3, numExpertsPerTok: 2 },
      seed: 3,
    });
    expect(dtype).toBe('BF16');
    const [before, after] = [await tensorsOf(base), await tensorsOf(output)];
    for (const [name, values] of before) if (!name.includes('.mlp.')) expect(after.get(name)).toEqual(values);
    for (const [theirs, ours] of [
      ['gate', 'w1'],
      ['up', 'w3'],
      ['down', 'w2'],
    ]) {
      const values = before.get(`model.layers.1.mlp.${theirs}_proj.weight`);
      for (const e of [0, 1, 2])
        expect(after.get(`model.layers.1.block_sparse_moe.experts.${e}.${ours}.weight`)).toEqual(values);
    }
  });

  it('is stored as most of its base is, whatever its norms are', async () => {
    const dense = tinyModel({ mixture: undefined });
    const base = newFolder();
    await saveModelDirectory(dense, base, { dtype: 'BF16' });
    const { hiddenSize } = dense.config;
    dense.dispose();
    const norm = new Uint8Array(new Float32Array(hiddenSize).fill(1).buffer);
    await writeStored(join(base, 'model.safetensors'), [
      { name: 'model.norm.weight', dtype: 'F32', shape: [hiddenSize], bytes: norm },
    ]);
    const { dtype } = await upcycleDirectory(base, newFolder(), { mixture, seed: 3 });
    expect(dtype).toBe('BF16');
  });

  it('with noise keeps the first expert exact, and is the same for the same seed', async () => {
    const made = await Promise.all(
      [3, 3, 5].map(async (seed) => {
        const output = newFolder();
        await upcycleDirectory(fixture, output, { mixture, noiseDeviation: 0.1, seed });
        return tensorsOf(output);
      }),
    );
    const of = (expert: number, run = 0) =>
      made[run]!.get(`model.layers.0.block_sparse_moe.experts.${expert}.w2.weight`)!;
    expect(of(0)).toEqual((await tensorsOf(fixture)).get('model.layers.0.mlp.down_proj.weight'));
    expect(of(1, 1)).toEqual(of(1));
    expect(of(1, 2)).not.toEqual(of(1));
    expect(of(2)).not.toEqual(of(1));
  });

  it('with narrow experts has neurons of the dense one, scaled, and says how far the output is', async () => {
    const output = newFolder();
    const narrow = { ...mixture, layers: [1], moeIntermediateSize: 11 };
    const { config, layers } = await upcycleDirectory(fixture, output, { mixture: narrow, prompts, seed: 7 });
    expect(config.mixture).toMatchObject({ layers: [1], moeIntermediateSize: 11 });
    expect(layers[0]!.difference).toBeGreaterThan(0);
    expect(layers[0]!.difference).toBeLessThan(1);
    const model = await loadModelDirectory(output);
    expect((await logitsOf(model, expected.ids)).every(Number.isFinite)).toBe(true);
    const down = await model.parameters().get('model.layers.1.block_sparse_moe.experts.down_proj')!.array();
    const dense = (await tensorsOf(fixture)).get('model.layers.1.mlp.down_proj.weight')!; // [hidden, inner]
    const { hiddenSize, intermediateSize } = config;
    for (const expert of down as number[][][]) {
      const ratios = expert.map((row) => ratioToSome(row, dense, hiddenSize, intermediateSize));
      for (const ratio of ratios) expect(ratio).toBeCloseTo(ratios[0]!, 4);
    }
    model.dispose();
  });

  it('has its width where every layer is a mixture, so that it is a Mixtral', async () => {
    const { config } = await upcycleDirectory(fixture, newFolder(), {
      mixture: { ...mixture, layers: [0, 1], moeIntermediateSize: 11 },
      seed: 7,
    });
    expect(config.intermediateSize).toBe(11);
    expect(Object.keys(config.mixture!)).not.toContain('layers');
  });
});

/** What a row of an expert is of the column of the dense `[hidden, inner]` that it is a multiple of. */
function ratioToSome(row: readonly number[], dense: Float32Array, hidden: number, inner: number): number {
  for (let neuron = 0; neuron < inner; neuron++) {
    const ratio = row[0]! / dense[neuron]!;
    if (row.every((x, i) => Math.abs(x - ratio * dense[i * inner + neuron]!) < 1e-5 && i < hidden)) return ratio;
  }
  return Number.NaN;
}

describe('upcycleDirectory refuses', () => {
  const upcycle = (more: object, base = fixture, output = newFolder()) =>
    upcycleDirectory(base, output, { mixture, seed: 1, ...more });

  it('a base with experts', async () => {
    const moe = fileURLToPath(new URL('../../test/fixtures/mixtral-4x-top2/', import.meta.url));
    await expect(upcycle({}, moe)).rejects.toThrow('the base has 4 experts already');
  });

  it('a base of 8 bits, with the way out', async () => {
    const base = newFolder();
    await cp(fixture, base, { recursive: true });
    const file = join(base, 'config.json');
    const quantization_config = { quant_method: 'bitsandbytes', load_in_8bit: true };
    await writeFile(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), quantization_config }));
    await expect(upcycle({}, base)).rejects.toThrow(
      'stored in 8 bits, which upcycle does not read; write the base with "export --format hf" first, and upcycle that.',
    );
  });

  it('layers and widths that are not there', async () => {
    await expect(upcycle({ mixture: { ...mixture, layers: [2] } })).rejects.toThrow(
      'layers names 2, but numHiddenLayers is 2',
    );
    await expect(upcycle({ mixture: { ...mixture, moeIntermediateSize: 997 } })).rejects.toThrow(
      /whole number from 1 to \d+, the neurons of the dense feed-forward, got 997/,
    );
  });

  it('prompts that fit no expert, no word or no base', async () => {
    await expect(upcycle({ prompts: prompts.slice(1) })).rejects.toThrow('domain 0 has no token to learn from');
    await expect(upcycle({ prompts: [{ domain: 4, ids: [1, 2] }] })).rejects.toThrow(
      'is of domain 4, but there are 4 experts',
    );
    await expect(upcycle({ prompts: [...prompts, { domain: 0, ids: [1, 97_000] }] })).rejects.toThrow(
      'has the token 97000',
    );
    const learned = tinyModel({ mixture: undefined, positions: { kind: 'learned' } });
    const base = newFolder();
    await saveModelDirectory(learned, base);
    learned.dispose();
    await expect(upcycle({ prompts }, base)).rejects.toThrow(
      'the base has learned; leave them out for a router at random.',
    );
  });

  it('and writes nothing then', async () => {
    const output = newFolder();
    await mkdir(output);
    await writeFile(join(output, 'note.txt'), 'mine');
    await expect(upcycle({ prompts: [] }, fixture, output)).rejects.toThrow('domain 0');
    await expect(openCheckpoint(output)).rejects.toThrow('got neither');
  });
});
