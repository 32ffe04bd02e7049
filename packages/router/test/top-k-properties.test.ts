import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type GroupLimit, type RouterConfig, TopKRouter } from '../src/index.js';
import { referenceRoute } from './reference-route.js';

/** float32 exponentials and their sums. */
const CLOSE = 1e-5;
const HIDDEN = 5;

const groupLimit = (numGroups: number, size: number): fc.Arbitrary<GroupLimit | undefined> =>
  fc.option(
    fc.record({
      numGroups: fc.constant(numGroups),
      topGroups: fc.integer({ min: 1, max: numGroups }),
      score: fc.constantFrom(...(size > 1 ? (['max', 'sum-of-top-2'] as const) : (['max'] as const))),
    }),
    { nil: undefined },
  );

/** Settings that `resolveRouterConfig` takes, of every kind. */
const settings: fc.Arbitrary<RouterConfig> = fc
  .record({ numGroups: fc.integer({ min: 1, max: 5 }), size: fc.integer({ min: 1, max: 4 }) })
  .chain(({ numGroups, size }) =>
    fc.tuple(groupLimit(numGroups, size), fc.constantFrom('softmax', 'sigmoid'), fc.boolean(), fc.nat()).map(
      ([groups, scoring, normTopkProb, n]): RouterConfig => ({
        numExperts: numGroups * size,
        numExpertsPerTok: 1 + (n % ((groups?.topGroups ?? numGroups) * size)),
        softmaxOrder: 'before-top-k',
        normTopkProb,
        scoring: scoring as 'softmax' | 'sigmoid',
        routedScalingFactor: 1 + (n % 3),
        groups,
        balanceBias: n % 2 === 0,
      }),
    ),
  );

describeOnBackends('TopKRouter', () => {
  it('equals sorting each token by hand, whatever its settings, and routes permuted tokens alike', async () => {
    const property = fc.asyncProperty(settings, fc.integer({ min: 1, max: 1e6 }), async (config, seed) => {
      const gate = Linear.create(HIDDEN, config.numExperts, { deviation: 1, seed });
      const router = new TopKRouter(gate, config);
      const bias = Array.from({ length: config.numExperts }, (_, e) => Math.fround(0.3 * Math.sin(seed + e)));
      tf.tidy(() => router.balanceBias?.assign(tf.tensor1d(bias)));
      const hidden = tf.randomNormal<tf.Rank.R2>([7, HIDDEN], 0, 1, 'float32', seed);
      const reversed = tf.reverse(hidden, 0);
      const [routing, mirrored] = [router.route(hidden), router.route(reversed)];
      const gates = (await routing.gates[0]!.array()) as number[][];
      const expected = gates.map((row) => referenceRoute(row, config, router.balanceBias ? bias : undefined));
      expect(await routing.indices.array()).toEqual(expected.map(({ indices }) => indices));
      await expectClose(
        routing.weights,
        expected.flatMap(({ weights }) => weights),
        CLOSE,
      );
      await expectClose(
        routing.probabilities,
        expected.flatMap(({ probabilities }) => probabilities),
        CLOSE,
      );
      expect(((await mirrored.indices.array()) as number[][]).reverse()).toEqual(await routing.indices.array());
      tf.dispose([hidden, reversed, routing, mirrored]);
      router.dispose();
    });
    await fc.assert(property, { numRuns: 30, seed: 11 });
  });
});
