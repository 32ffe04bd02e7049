import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { filledVariable, joinParameters, Linear, normalVariable } from './index.js';

/** float32 sums of a few products in another order. */
const SUM = 1e-5;

describeOnBackends('Linear', () => {
  it('is x W + b on the last dimension, whatever stands before it', async () => {
    const [x, weight] = [tf.randomNormal([2, 3, 5], 0, 1, 'float32', 1), normalVariable([5, 7], 1, 2)];
    const linear = new Linear(
      weight,
      tf.tidy(() => tf.variable(tf.range(0, 7))),
    );
    const [xs, ws] = [await x.data(), await weight.data()];
    const expected = Array.from({ length: 6 * 7 }, (_, at) => {
      const [row, column] = [Math.floor(at / 7), at % 7];
      return Array.from({ length: 5 }, (_, i) => xs[row * 5 + i]! * ws[i * 7 + column]!).reduce(
        (a, b) => a + b,
        column,
      );
    });
    const y = linear.apply(x);
    expect(y.shape).toEqual([2, 3, 7]);
    await expectClose(y, expected, SUM);
    await expectClose(linear.dense(), [...ws], 0);
    await expectNoLeak(() => linear.apply(x));
    tf.dispose([x, y]);
    linear.dispose();
  });

  it('has gradients to input, weight and bias', async () => {
    const x = tf.randomNormal([3, 5], 0, 1, 'float32', 1);
    const linear = Linear.create(5, 7, { bias: true, seed: 3 });
    const [weight, bias] = ['weight', 'bias'].map((name) => linear.parameters().get(name)!);
    await expectGradient((x) => linear.apply(x!), [x]);
    const gradients = tf.tidy(() => tf.variableGrads(() => tf.sum(linear.apply(x)) as tf.Scalar));
    const ofWeight = tf.tidy(() => tf.tile(tf.reshape(tf.sum(x, 0), [5, 1]), [1, 7]));
    await expectClose(gradients.grads[weight!.name]!, ofWeight, SUM);
    await expectClose(gradients.grads[bias!.name]!, new Array(7).fill(3), SUM);
    tf.dispose([x, ofWeight, gradients.value, gradients.grads]);
    linear.dispose();
  });

  it('starts with zero bias and a deviation of inputSize ** -0.5', async () => {
    const linear = Linear.create(64, 101, { bias: true, seed: 1 });
    const { mean, variance } = tf.moments(linear.weight);
    expect(Math.sqrt((await variance.data())[0]!)).toBeCloseTo(1 / 8, 2);
    expect(await linear.bias!.data()).toEqual(new Float32Array(101));
    tf.dispose([mean, variance]);
    linear.dispose();
  });

  it('refuses shapes that do not fit', () => {
    const linear = Linear.create(5, 7, { seed: 1 });
    const x = tf.ones([2, 7]);
    expect(() => linear.apply(x)).toThrow('Linear.apply: x must be [..., 5], got [2, 7].');
    expect(() => new Linear(filledVariable([5], 1))).toThrow('weight must be [input, output], got [5]');
    expect(() => new Linear(linear.weight, filledVariable([5], 0))).toThrow(
      'bias must be [7] for weight [5,7], got [5]',
    );
    x.dispose();
    linear.dispose();
  });
});

describeOnBackends('joinParameters', () => {
  it('puts the paths of the parts before their names', () => {
    const [q, k] = [Linear.create(2, 3, { seed: 1 }), Linear.create(2, 3, { bias: true, seed: 2 })];
    const joined = joinParameters({ 'attn.q': q, 'attn.k': k });
    expect([...joined.keys()]).toEqual(['attn.q.weight', 'attn.k.weight', 'attn.k.bias']);
    expect(joined.get('attn.k.weight')).toBe(k.weight);
    q.dispose();
    k.dispose();
  });
});
