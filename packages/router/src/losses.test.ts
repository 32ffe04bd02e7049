import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { expertLoad, klToUniform, maskedMean, type Routing, switchLoss, topKIndices, zLoss } from './index.js';

/** float32 logarithms of values near 1. */
const CLOSE = 1e-5;

/** What a router with these gate logits returns; the weights play no part in the losses. */
function routingOf(logits: tf.Tensor2D, k: number): Routing {
  const indices = topKIndices(logits, k);
  return { logits, probabilities: tf.softmax(logits), indices, weights: tf.onesLike(indices), gates: [logits] };
}

async function numberOf(loss: () => tf.Tensor): Promise<number> {
  const scalar = tf.tidy(loss);
  const [value] = await scalar.data();
  scalar.dispose();
  return value!;
}

/** Token t prefers expert t mod 3 so strongly that its probability is 1. */
const decided = (tokens: number, prefer = (t: number) => t % 3) =>
  tf.tensor2d(Array.from({ length: tokens }, (_, t) => [0, 1, 2].map((e) => (e === prefer(t) ? 60 : 0))));

describeOnBackends('klToUniform', () => {
  it('is 0 where experts share evenly, decided or not, and log E where one takes all', async () => {
    expect(await numberOf(() => klToUniform(routingOf(tf.zeros([5, 7]), 2)))).toBeCloseTo(0, 6);
    expect(await numberOf(() => klToUniform(routingOf(decided(6), 1)))).toBeCloseTo(0, 6);
    expect(
      await numberOf(() =>
        klToUniform(
          routingOf(
            decided(5, () => 1),
            1,
          ),
        ),
      ),
    ).toBeCloseTo(Math.log(3), 5);
  });

  it('agrees with central differences', async () => {
    const logits = tf.randomNormal<tf.Rank.R2>([5, 3], 0, 1, 'float32', 1);
    const mask = tf.tensor1d([1, 1, 0, 1, 1]);
    await expectGradient((x) => klToUniform(routingOf(x as tf.Tensor2D, 2), mask), [logits]);
    tf.dispose([logits, mask]);
  });
});

describeOnBackends('switchLoss', () => {
  it('is 1 where choices and probabilities are uniform, and E where one expert takes all', async () => {
    expect(await numberOf(() => switchLoss(routingOf(decided(6), 1)))).toBeCloseTo(1, 5);
    expect(
      await numberOf(() =>
        switchLoss(
          routingOf(
            decided(5, () => 2),
            1,
          ),
        ),
      ),
    ).toBeCloseTo(3, 5);
  });

  it('sends its gradient through the mean probabilities, the load being constant', async () => {
    const logits = tf.randomNormal<tf.Rank.R2>([5, 3], 0, 1, 'float32', 2);
    const load = tf.tidy(() => expertLoad(routingOf(logits, 2)));
    const gradient = tf.tidy(() => tf.grad((x) => switchLoss(routingOf(x as tf.Tensor2D, 2)))(logits));
    const byHand = tf.tidy(() =>
      tf.grad((x) => tf.mul(tf.sum(tf.mul(tf.mean(tf.softmax(x as tf.Tensor2D), 0), load)), 3))(logits),
    );
    await expectClose(gradient, byHand, CLOSE);
    tf.dispose([logits, load, gradient, byHand]);
  });
});

describeOnBackends('zLoss', () => {
  it('is the mean square of log-sum-exp, with its gradient', async () => {
    const logits = tf.tensor2d([
      [0, 0, 0],
      [1, 2, 3],
    ]);
    const expected = (Math.log(3) ** 2 + Math.log(Math.E + Math.E ** 2 + Math.E ** 3) ** 2) / 2;
    expect(await numberOf(() => zLoss(routingOf(tf.clone(logits), 1)))).toBeCloseTo(expected, 4);
    await expectGradient((x) => zLoss(routingOf(x as tf.Tensor2D, 1)), [logits]);
    logits.dispose();
  });
});

describeOnBackends('masks', () => {
  it('leave padded tokens out of every loss and of the load', async () => {
    const logits = tf.randomNormal<tf.Rank.R2>([5, 3], 0, 2, 'float32', 3);
    const padded = tf.tidy(() => tf.concat2d([logits, tf.fill<tf.Rank.R2>([2, 3], 9)], 0));
    const mask = tf.tensor1d([1, 1, 1, 1, 1, 0, 0]);
    for (const loss of [klToUniform, switchLoss, zLoss, expertLoad]) {
      const [short, long] = [
        tf.tidy(() => loss(routingOf(logits, 2))),
        tf.tidy(() => loss(routingOf(padded, 2), mask)),
      ];
      await expectClose(short, long, CLOSE);
      tf.dispose([short, long]);
    }
    await expectNoLeak(() => tf.tidy(() => zLoss(routingOf(padded, 2), mask)));
    tf.dispose([logits, padded, mask]);
  });

  it('without a real token give 0, not NaN', async () => {
    const [values, mask] = [tf.ones<tf.Rank.R2>([2, 3]), tf.zeros<tf.Rank.R1>([2])];
    const mean = maskedMean(values, mask);
    expect([...(await mean.data())]).toEqual([0, 0, 0]);
    tf.dispose([values, mask, mean]);
  });
});

describeOnBackends('expertLoad', () => {
  it('is the share of choices, which sums to 1 for every k', async () => {
    const load = tf.tidy(() =>
      expertLoad(
        routingOf(
          tf.tensor2d([
            [3, 2, 1, 0],
            [0, 3, 2, 1],
            [3, 0, 1, 2],
          ]),
          2,
        ),
      ),
    );
    await expectClose(
      load,
      [2, 2, 1, 1].map((n) => n / 6),
      CLOSE,
    );
    load.dispose();
  });
});
