import * as tf from '@tensorflow/tfjs-core';
import { attachLora } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { mixtures } from '../test/mixtures.js';
import { logitsOf, tinyModel } from '../test/tiny-model.js';
import { type CausalLm, countParameters, pruneModel } from './index.js';

/** float32 sums in another order. */
const LOGIT = 1e-4;

const modelOf = (name: string) => tinyModel({ hiddenSize: 10, intermediateSize: 14, mixture: mixtures[name]! });

/** How often each expert of each layer is chosen for some ids. */
async function loadOf(model: CausalLm, ids: readonly number[]): Promise<number[][]> {
  const { logits, routings } = model.forward(tf.tensor2d([[...ids]], [1, ids.length], 'int32'));
  const load: number[][] = [];
  for (const routing of routings) {
    const counts = new Array<number>(6).fill(0);
    for (const expert of await routing.indices.data()) counts[expert]! += 1;
    load.push(counts);
  }
  tf.dispose([logits, ...routings]);
  return load;
}

describeOnBackends('pruneModel', (backend) => {
  it('changes nothing for tokens that chose no removed expert, in a model that top-k routes', async () => {
    const model = modelOf('top-k of SwiGLU experts');
    const ids = [3, 7]; // four choices at most in each layer
    const pruned = pruneModel(model, await loadOf(model, ids), 4);
    expect(pruned.lostLoad).toEqual([0, 0]);
    expect(pruned.kept[0]).toHaveLength(4);
    expect(pruned.model.config.mixture!.numExperts).toBe(4);
    await expectClose(await logitsOf(pruned.model, ids), await logitsOf(model, ids), LOGIT);
    const lost = 2 * (2 * 3 * 10 * 14 + 2 * 10);
    expect(countParameters(pruned.model.config).total).toBe(countParameters(model.config).total - lost);
    pruned.model.dispose();
    model.dispose();
  });

  it('refuses a model with an adapter, which would be lost', () => {
    const model = modelOf('top-k of SwiGLU experts');
    attachLora(model, { r: 2, loraAlpha: 4, loraDropout: 0, targetModules: ['q_proj'] }, 1);
    const load = [new Array(6).fill(1), new Array(6).fill(1)];
    expect(() => pruneModel(model, load, 4)).toThrow(/q_proj carries an adapter, which would be lost; merge it/);
    model.dispose();
  });

  it('keeps the most used of every group, with their own weights and gate columns', async () => {
    const model = modelOf('hierarchy, specialised experts, capacity');
    const load = [
      [5, 1, 3, 9, 8, 7],
      [1, 2, 3, 0, 0, 1],
    ];
    const { model: pruned, kept, lostLoad } = pruneModel(model, load, 4);
    expect(kept).toEqual([
      [0, 2, 3, 4],
      [1, 2, 3, 5],
    ]);
    expect(lostLoad).toEqual([8 / 33, 1 / 7]);
    const of = (one: CausalLm, path: string) => one.parameters().get(`model.layers.1.block_sparse_moe.${path}`)!.data();
    const [down, few] = [await of(model, 'experts.down_proj'), await of(pruned, 'experts.down_proj')];
    for (const [at, expert] of kept[1]!.entries())
      expect(few.slice(at * 140, (at + 1) * 140)).toEqual(down.slice(expert * 140, (expert + 1) * 140));
    const [gate, fewGates] = [await of(model, 'gate.expert_gate.weight'), await of(pruned, 'gate.expert_gate.weight')];
    expect([...fewGates]).toEqual(
      Array.from({ length: 10 }, (_, row) => kept[1]!.map((expert) => gate[6 * row + expert]!)).flat(),
    );
    pruned.dispose();
    model.dispose();
  });

  it.skipIf(backend === 'webgpu')(
    'prunes every kind of mixture to one that runs, its biases and domains too',
    async () => {
      for (const [name, mixture] of Object.entries(mixtures)) {
        const model = tinyModel({
          hiddenSize: 10,
          intermediateSize: 14,
          mixture: { ...mixture, domains: [...'abcdef'] },
        });
        const before = tf.memory().numTensors;
        const keep = name === 'two stages, shared projections' ? 3 : name.startsWith('sigmoid') ? 3 : 4;
        const pruned = pruneModel(model, [[...new Array(6).keys()], [6, 5, 4, 3, 2, 1]], keep);
        expect(pruned.model.config.mixture!.domains).toBeUndefined();
        expect((await logitsOf(pruned.model, [3, 1, 4])).every(Number.isFinite)).toBe(true);
        pruned.model.dispose();
        expect(tf.memory().numTensors).toBe(before);
        model.dispose();
      }
    },
  );

  it.skipIf(backend === 'webgpu')('leaves attention with domains and positions as they are', async () => {
    const model = tinyModel({
      hiddenSize: 10,
      intermediateSize: 14,
      attention: { kind: 'domain', numDomains: 3, terms: 'projections', rank: 2 },
      positions: { kind: 'hybrid' },
      mixture: mixtures['top-k of SwiGLU experts']!,
    });
    for (const [path, variable] of model.parameters())
      if (path.includes('.domains.'))
        tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 0.5, 'float32', 5)));
    const ids = [3, 7]; // four choices at most in each layer
    const pruned = pruneModel(model, await loadOf(model, ids), 4);
    await expectClose(await logitsOf(pruned.model, ids), await logitsOf(model, ids), LOGIT);
    pruned.model.dispose();
    model.dispose();
  });

  it('refuses what cannot be, in words', () => {
    const [model, grouped] = [modelOf('top-k of SwiGLU experts'), modelOf('hierarchy, specialised experts, capacity')];
    const dense = tinyModel({ mixture: undefined });
    const even = [new Array(6).fill(1), new Array(6).fill(1)];
    expect(() => pruneModel(dense, [], 1)).toThrow('this model is dense');
    expect(() => pruneModel(model, even.slice(1), 4)).toThrow('one list for each of 2 layers, got 1.');
    expect(() => pruneModel(model, [[1, 2], even[1]!], 4)).toThrow('load of layer 0 must be 6 counts');
    expect(() => pruneModel(model, [even[0]!, new Array(6).fill(0)], 4)).toThrow('load of layer 1');
    expect(() => pruneModel(model, even, 7)).toThrow('keep must be a whole number from 1 to 6, got 7.');
    expect(() => pruneModel(grouped, even, 3)).toThrow('a multiple of the 2 groups, got 3.');
    expect(() => pruneModel(model, even, 1)).toThrow('numExpertsPerTok is 2 but numExperts is 1');
    for (const each of [model, grouped, dense]) each.dispose();
  });
});
