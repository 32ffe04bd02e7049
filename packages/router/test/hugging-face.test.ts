import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { it } from 'vitest';
import { oneHotFloat, type RouterConfig, sequenceBalanceLoss, switchLoss, TopKRouter, zLoss } from '../src/index.js';

/** Two float32 implementations, other orders of summing; DeepSeek-V2's weights are up to 16. */
const CLOSE = 1e-5;

interface Fixture {
  readonly hidden: number[][];
  /** `[experts, hidden]`. */
  readonly weight: number[][];
  readonly bias: number[];
  readonly mask: number[];
  readonly dense: Record<'deepseekV3' | 'deepseekV2' | 'mixtral', number[][]>;
  readonly losses: Record<'mixtralTop3' | 'mixtralTop3Masked' | 'switchTop3PerSequence' | 'z', number>;
}

const fixture: Fixture = JSON.parse(readFileSync(new URL('./fixtures/hugging-face.json', import.meta.url), 'utf8'));
const numExperts = fixture.weight.length;

const top3 = { numExperts, numExpertsPerTok: 3, softmaxOrder: 'before-top-k', normTopkProb: true } as const;
const inGroups = (score: 'max' | 'sum-of-top-2') => ({ numGroups: 5, topGroups: 2, score });
const configs: Record<keyof Fixture['dense'], RouterConfig> = {
  mixtral: top3,
  deepseekV2: {
    ...top3,
    numExpertsPerTok: 4,
    normTopkProb: false,
    routedScalingFactor: 16,
    groups: inGroups('max'),
  },
  deepseekV3: {
    ...top3,
    numExpertsPerTok: 4,
    scoring: 'sigmoid',
    routedScalingFactor: 2.5,
    groups: inGroups('sum-of-top-2'),
    balanceBias: true,
  },
};

function createRouter(config: RouterConfig): TopKRouter {
  const weight = tf.tidy(() => tf.variable(tf.transpose(tf.tensor2d(fixture.weight))));
  const router = new TopKRouter(new Linear(weight), config);
  tf.tidy(() => router.balanceBias?.assign(tf.tensor1d(fixture.bias)));
  return router;
}

describeOnBackends('the routers of Hugging Face', () => {
  for (const [name, config] of Object.entries(configs)) {
    it(`agree with ours: ${name}`, async () => {
      const [router, hidden] = [createRouter(config), tf.tensor2d(fixture.hidden)];
      const routing = router.route(hidden);
      const dense = tf.tidy(() =>
        tf.sum(tf.mul(oneHotFloat(routing.indices, numExperts), tf.expandDims(routing.weights, 2)), 1),
      );
      await expectClose(dense, fixture.dense[name as keyof Fixture['dense']].flat(), CLOSE);
      tf.dispose([hidden, routing, dense]);
      router.dispose();
    });
  }

  it('have losses k times ours, since they do not divide by k, and the same z-loss', async () => {
    const [router, hidden, mask] = [createRouter(top3), tf.tensor2d(fixture.hidden), tf.tensor1d(fixture.mask)];
    const routing = router.route(hidden);
    const { mixtralTop3, mixtralTop3Masked, switchTop3PerSequence, z } = fixture.losses;
    const ours = [
      switchLoss(routing),
      switchLoss(routing, mask),
      sequenceBalanceLoss(routing, { batch: 2, seq: 11 }),
      zLoss(routing),
    ];
    const theirs = [mixtralTop3 / 3, mixtralTop3Masked / 3, switchTop3PerSequence / 3, z];
    for (const [i, loss] of ours.entries()) await expectClose(loss, [theirs[i]!], CLOSE);
    tf.dispose([hidden, mask, routing, ...ours]);
    router.dispose();
  });
});
