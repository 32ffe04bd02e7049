import * as tf from '@tensorflow/tfjs-core';
import { combineRows, dispatchRows } from '@therapeutic-moe/kernels';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type ExpertChoice, type ExpertChoiceConfig, ExpertChoiceRouter, expertChoice } from './index.js';

const CLOSE = 1e-5;
const [TOKENS, EXPERTS, CAPACITY, HIDDEN] = [11, 5, 3, 2];

const probabilitiesOf = () =>
  tf.tidy(() => tf.softmax(tf.randomNormal<tf.Rank.R2>([TOKENS, EXPERTS], 0, 1, 'float32', 7)));
const hiddenOf = () => tf.randomNormal<tf.Rank.R2>([TOKENS, HIDDEN], 0, 1, 'float32', 3);

/** Expert e multiplies by e + 1. The dense reference: every expert computes every token. */
function applyDense(hidden: tf.Tensor2D, { weights }: ExpertChoice): tf.Tensor2D {
  return tf.tidy(() => {
    const factors = tf.sum(tf.mul(weights, tf.range(1, EXPERTS + 1)), 1, true);
    return tf.mul(hidden, factors);
  });
}

/** The same by the rows of the plan. */
function applyPlan(hidden: tf.Tensor2D, { weights, plan }: ExpertChoice): tf.Tensor2D {
  return tf.tidy(() => {
    const factor = tf.expandDims(tf.mul(tf.add(tf.cast(plan.groupOfRow, 'float32'), 1), 1), 1);
    return combineRows(tf.mul(dispatchRows(hidden, plan), factor), weights as tf.Tensor2D, plan);
  });
}

describeOnBackends('expertChoice', () => {
  it('gives every expert its most likely tokens, best first, and their probabilities as weights', async () => {
    const probabilities = probabilitiesOf();
    const choice = expertChoice(probabilities, CAPACITY);
    const p = (await probabilities.array()) as number[][];
    const weights = (await choice.weights.array()) as number[][];
    const tokens = (await choice.tokens.array()) as number[][];
    for (let e = 0; e < EXPERTS; e++) {
      const byLikelihood = p.map((_, t) => t).sort((a, b) => p[b]![e]! - p[a]![e]!);
      expect(tokens[e], `expert ${e}`).toEqual(byLikelihood.slice(0, CAPACITY));
      for (let t = 0; t < TOKENS; t++) expect(weights[t]![e]).toBe(tokens[e]!.includes(t) ? p[t]![e] : 0);
    }
    tf.dispose([probabilities, choice]);
  });

  it('computes by its plan what the dense form computes, with the same gradients, padded or not', async () => {
    const [logits, hidden] = [tf.randomNormal<tf.Rank.R2>([TOKENS, EXPERTS], 0, 1, 'float32', 7), hiddenOf()];
    const padding = tf.tensor1d([1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // fewer real tokens than a capacity of 5
    for (const [mask, capacity] of [
      [undefined, CAPACITY],
      [undefined, TOKENS],
      [padding, 5],
    ] as const) {
      const run = (apply: typeof applyDense) => (x: tf.Tensor, gate: tf.Tensor) =>
        apply(x as tf.Tensor2D, expertChoice(tf.softmax(gate as tf.Tensor2D), capacity, mask));
      const [dense, sparse] = [applyDense, applyPlan].map((apply) => tf.tidy(() => run(apply)(hidden, logits)));
      await expectClose(sparse!, dense!, CLOSE);
      const gradients = [applyDense, applyPlan].map((apply) =>
        tf.tidy(() => tf.grads((x, gate) => tf.sum(tf.square(run(apply)(x!, gate!))))([hidden, logits])),
      );
      for (const i of [0, 1]) await expectClose(gradients[1]![i]!, gradients[0]![i]!, CLOSE);
      tf.dispose([dense!, sparse!, ...gradients]);
    }
    await expectGradient(
      (gate) => applyPlan(hidden, expertChoice(tf.softmax(gate as tf.Tensor2D), CAPACITY)),
      [logits],
      {
        epsilon: 1e-3,
      },
    );
    tf.dispose([logits, hidden, padding]);
  });

  it('never takes a padded token: its rows stay empty and its weights 0', async () => {
    const probabilities = probabilitiesOf();
    const mask = tf.tensor1d([1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    const { weights, plan, ...rest } = expertChoice(probabilities, 5, mask);
    const tokenOfRow = await plan.tokenOfRow.data();
    for (let e = 0; e < EXPERTS; e++) {
      const taken = [...tokenOfRow.slice(e * 5, e * 5 + 5)].sort((a, b) => a - b);
      expect(taken, `expert ${e}`).toEqual([0, 1, 3, TOKENS, TOKENS]);
    }
    const masked = tf.tidy(() => tf.mul(weights, tf.sub(1, tf.expandDims(mask, 1))));
    await expectClose(masked, new Array(TOKENS * EXPERTS).fill(0), 0);
    tf.dispose([probabilities, mask, weights, plan, rest, masked]);
  });

  it('leaves nothing behind but what it returns', async () => {
    const probabilities = probabilitiesOf();
    await expectNoLeak(() => expertChoice(probabilities, CAPACITY));
    probabilities.dispose();
  });

  it('refuses a capacity that is none, and a mask of another length', () => {
    const [probabilities, mask] = [probabilitiesOf(), tf.ones<tf.Rank.R1>([3])];
    expect(() => expertChoice(probabilities, 0)).toThrow(
      'capacity must be a whole number from 1 to the 11 tokens there',
    );
    expect(() => expertChoice(probabilities, 13)).toThrow('got 13.');
    expect(() => expertChoice(probabilities, 2, mask)).toThrow('expertChoice: mask must be [11], got [3].');
    tf.dispose([probabilities, mask]);
  });
});

describeOnBackends('ExpertChoiceRouter', () => {
  const gate = () => Linear.create(HIDDEN, EXPERTS, { deviation: 1, seed: 3 });
  const config: ExpertChoiceConfig = { numExperts: EXPERTS, capacityFactor: 1.5, causal: false };

  it('takes capacityFactor times an even share, and returns its gate for the losses', async () => {
    const [router, hidden] = [new ExpertChoiceRouter(gate(), config), hiddenOf()];
    const routing = router.route(hidden);
    expect(routing.tokens.shape).toEqual([EXPERTS, 4]); // 1.5 * 11 / 5 = 3.3
    const softmax = tf.softmax(routing.logits);
    await expectClose(softmax, routing.probabilities, CLOSE);
    expect(routing.gates.map((gate) => gate.shape)).toEqual([[TOKENS, EXPERTS]]);
    await expectNoLeak(() => router.route(hidden));
    tf.dispose([hidden, routing, softmax]);
    router.dispose();
  });

  it('refuses a causal decoder with the reason, and settings that do not fit', () => {
    const refused = (change: Record<string, unknown>) => () => new ExpertChoiceRouter(gate(), { ...config, ...change });
    expect(refused({ causal: true })).toThrow(
      'a later token would change where an earlier one goes; use TopKRouter in a causal decoder.',
    );
    expect(refused({ capacityFactor: 0 })).toThrow('capacityFactor must be a number above 0, got 0.');
    expect(refused({ numExperts: 7 })).toThrow('the gate gives 5 logits but numExperts is 7; they must be equal.');
    expect(refused({ k: 2 })).toThrow("expert choice: unknown key 'k'");
  });
});

describe('expert choice', () => {
  it('is not causal: a later token takes the place of an earlier one', async () => {
    const choose = async (last: number) => {
      const probabilities = tf.tensor2d([[0.6], [0.3], [last]]);
      const choice = expertChoice(probabilities, 2);
      const tokens = [...(await choice.tokens.data())];
      tf.dispose([probabilities, choice]);
      return tokens;
    };
    expect(await choose(0.1)).toEqual([0, 1]);
    expect(await choose(0.9)).toEqual([2, 0]);
  });
});
