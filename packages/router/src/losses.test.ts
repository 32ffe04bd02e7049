import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  expertLoad,
  klToUniform,
  maskedMean,
  mseToUniform,
  type Routing,
  routerLosses,
  sequenceBalanceLoss,
  sumOverLayers,
  switchLoss,
  topKIndices,
  zLoss,
} from './index.js';

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

describeOnBackends('mseToUniform', () => {
  it('is 0 where experts share evenly and E - 1 where one takes all', async () => {
    expect(await numberOf(() => mseToUniform(routingOf(decided(6), 1)))).toBeCloseTo(0, 6);
    const all = () => decided(5, () => 1);
    expect(await numberOf(() => mseToUniform(routingOf(all(), 1)))).toBeCloseTo(2, 5);
  });

  it('is the squared coefficient of variation of the importance, with its gradient', async () => {
    const logits = tf.randomNormal<tf.Rank.R2>([5, 3], 0, 1, 'float32', 1);
    const mask = tf.tensor1d([1, 1, 0, 1, 1]);
    const variation = () => {
      const importance = tf.sum(tf.mul(tf.softmax(logits), tf.expandDims(mask, 1)), 0);
      const { mean, variance } = tf.moments(importance);
      return tf.div(variance, tf.square(mean));
    };
    const loss = await numberOf(() => mseToUniform(routingOf(tf.clone(logits), 2), mask));
    expect(loss).toBeCloseTo(await numberOf(variation), 5);
    await expectGradient((x) => mseToUniform(routingOf(x as tf.Tensor2D, 2), mask), [logits]);
    tf.dispose([logits, mask]);
  });
});

describeOnBackends('sequenceBalanceLoss', () => {
  const sequences = { batch: 3, seq: 5 };
  const mask = () => tf.tensor1d([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);

  it('is the mean of the Switch losses of the sequences that have a token', async () => {
    const logits = tf.randomNormal<tf.Rank.R2>([15, 7], 0, 1, 'float32', 5);
    const real = mask();
    const lossOf = (sequence: number) =>
      numberOf(() =>
        switchLoss(routingOf(tf.slice2d(logits, [sequence * 5, 0], [5, -1]), 2), tf.slice1d(real, sequence * 5, 5)),
      );
    const expected = ((await lossOf(0)) + (await lossOf(2))) / 2;
    const loss = () => sequenceBalanceLoss(routingOf(tf.clone(logits), 2), sequences, real);
    expect(await numberOf(loss)).toBeCloseTo(expected, 5);
    await expectNoLeak(() => tf.tidy(loss));
    tf.dispose([logits, real]);
  });

  it('sees imbalance within sequences that the batch hides, and is 1 where each is even', async () => {
    const own = (t: number) => Math.floor(t / 5); // each sequence has its own expert
    expect(await numberOf(() => switchLoss(routingOf(decided(15, own), 1)))).toBeCloseTo(1, 5);
    expect(await numberOf(() => sequenceBalanceLoss(routingOf(decided(15, own), 1), sequences))).toBeCloseTo(3, 5);
    const even = { batch: 2, seq: 3 };
    expect(await numberOf(() => sequenceBalanceLoss(routingOf(decided(6), 1), even))).toBeCloseTo(1, 5);
  });

  it('agrees with central differences', async () => {
    // Far apart, so that no step changes a choice: the load is constant to the tape.
    const logits = tf.tensor2d(Array.from({ length: 15 }, (_, t) => [0, 1, 2].map((e) => (e * (t + 1)) % 3)));
    const real = mask();
    const loss = (x: tf.Tensor) => sequenceBalanceLoss(routingOf(x as tf.Tensor2D, 1), sequences, real);
    const spread = tf.tidy(() => tf.add(logits, tf.tensor1d([0, 0.1, 0.25])));
    await expectGradient((x) => loss(x!), [spread]);
    tf.dispose([logits, real, spread]);
  });

  it('refuses sequences that are not its tokens', () => {
    const routing = routingOf(decided(6), 1);
    expect(() => sequenceBalanceLoss(routing, { batch: 2, seq: 5 })).toThrow(
      'batch 2 * seq 5 must be the 6 tokens of the routing.',
    );
    tf.dispose(routing);
  });
});

describeOnBackends('routerLosses', () => {
  const routing = () => routingOf(tf.randomNormal<tf.Rank.R2>([6, 3], 0, 1, 'float32', 5), 2);
  const sequences = { batch: 2, seq: 3 };

  it('gives each weighted loss plain, and their weighted sum', async () => {
    const [one, mask] = [routing(), tf.tensor1d([1, 1, 0, 1, 1, 0])];
    const weights = { kl: 0.01, switch: 0.02, mse: 0.03, sequence: 0.05, z: 0.07 };
    const { total, ...each } = routerLosses(one, weights, { mask, sequences });
    const plain = [
      klToUniform(one, mask),
      switchLoss(one, mask),
      mseToUniform(one, mask),
      sequenceBalanceLoss(one, sequences, mask),
      zLoss(one, mask),
    ];
    for (const [i, name] of (['kl', 'switch', 'mse', 'sequence', 'z'] as const).entries()) {
      await expectClose(each[name]!, plain[i]!, CLOSE);
    }
    const sum = tf.tidy(() => tf.addN(plain.map((loss, i) => tf.mul(loss, Object.values(weights)[i]!))));
    await expectClose(total, sum, CLOSE);
    await expectNoLeak(() => routerLosses(one, weights, { mask, sequences }));
    tf.dispose([one, mask, total, each, plain, sum]);
  });

  it('computes no loss without a weight, and 0 without any', async () => {
    const one = routing();
    const [some, none] = [routerLosses(one, { z: 1, kl: undefined }), routerLosses(one, {})];
    expect(Object.keys(some).sort()).toEqual(['total', 'z']);
    await expectClose(none.total, [0], 0);
    tf.dispose([one, some, none]);
  });

  it('refuses weights that are none and sequences that are missing', () => {
    const one = routing();
    expect(() => routerLosses(one, { balance: 1 } as never)).toThrow(
      "routerLosses: unknown key 'balance'; known are kl",
    );
    expect(() => routerLosses(one, { z: -1 })).toThrow('the weight z must be a number of 0 or more, got -1.');
    expect(() => routerLosses(one, { sequence: 1 })).toThrow('the sequence loss needs pass.sequences { batch, seq }');
    tf.dispose(one);
  });
});

describeOnBackends('sumOverLayers', () => {
  it('adds the loss of each layer, 0 without layers', async () => {
    const layers = [1, 2, 3].map((seed) => routingOf(tf.randomNormal<tf.Rank.R2>([5, 3], 0, 1, 'float32', seed), 2));
    const each = await Promise.all(layers.map((layer) => numberOf(() => zLoss(layer))));
    const sum = await numberOf(() => sumOverLayers(layers, zLoss));
    expect(sum).toBeCloseTo(
      each.reduce((a, b) => a + b),
      4,
    );
    expect(await numberOf(() => sumOverLayers([], zLoss))).toBe(0);
    tf.dispose(layers);
  });
});

describeOnBackends('masks', () => {
  it('leave padded tokens out of every loss and of the load', async () => {
    const logits = tf.randomNormal<tf.Rank.R2>([5, 3], 0, 2, 'float32', 3);
    const padded = tf.tidy(() => tf.concat2d([logits, tf.fill<tf.Rank.R2>([2, 3], 9)], 0));
    const mask = tf.tensor1d([1, 1, 1, 1, 1, 0, 0]);
    for (const loss of [klToUniform, mseToUniform, switchLoss, zLoss, expertLoad]) {
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

  it('of other tokens are refused', () => {
    const [values, short] = [tf.ones<tf.Rank.R2>([5, 3]), tf.ones<tf.Rank.R1>([1])];
    expect(() => maskedMean(values, short)).toThrow('router losses: mask must be [5], got [1].');
    tf.dispose([values, short]);
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
