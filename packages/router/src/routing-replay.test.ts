import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { recordRouting, replayTensor, TopKRouter } from './index.js';

const createRouter = (seed: number) =>
  new TopKRouter(Linear.create(5, 7, { deviation: 1, seed }), {
    numExperts: 7,
    numExpertsPerTok: 3,
    softmaxOrder: 'after-top-k',
    normTopkProb: true,
  });

describeOnBackends('routing replay', () => {
  it('forces the recorded choices of every layer on other gates', async () => {
    const hidden = tf.randomNormal<tf.Rank.R2>([11, 5], 0, 1, 'float32', 3);
    const [layers, others] = [
      [createRouter(1), createRouter(2)],
      [createRouter(3), createRouter(4)],
    ];
    const routings = layers.map((router) => router.route(hidden));
    const recorded = await recordRouting(routings);
    expect(recorded.map(({ numExperts, numExpertsPerTok }) => [numExperts, numExpertsPerTok])).toEqual([
      [7, 3],
      [7, 3],
    ]);
    for (const [layer, router] of others.entries()) {
      const replay = replayTensor(recorded, layer);
      const [free, forced] = [router.route(hidden), router.route(hidden, { replay })];
      expect(await forced.indices.array()).toEqual(await routings[layer]!.indices.array());
      expect(await free.indices.array()).not.toEqual(await forced.indices.array());
      tf.dispose([replay, free, forced]);
    }
    await expectNoLeak(() => replayTensor(recorded, 1));
    tf.dispose([hidden, routings]);
    for (const router of [...layers, ...others]) router.dispose();
  });
});

describe('replayTensor', () => {
  it('refuses layers and choices that no pass gives', () => {
    const layer = (...indices: number[]) => [{ numExperts: 5, numExpertsPerTok: 2, indices: Int32Array.from(indices) }];
    expect(() => replayTensor(layer(0, 1), 3)).toThrow('layer 3 was not recorded; there are 1 layers.');
    expect(() => replayTensor(layer(0, 1, 2), 0)).toThrow('layer 0 has 3 indices, not a multiple of 2 per token.');
    expect(() => replayTensor(layer(0, 1, 5, 2), 0)).toThrow('sends token 1 to expert 5, but experts are 0 to 4.');
    expect(() => replayTensor(layer(0, 1, 3, 3), 0)).toThrow('layer 0 sends token 1 to expert 3 twice.');
  });
});
