import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { describeOnBackends, expectGradient } from './index.js';

describeOnBackends('expectGradient', () => {
  it('accepts the gradient of a product, with an int32 input as a constant', async () => {
    const [x, w] = [tf.randomNormal([2, 3], 0, 1, 'float32', 5), tf.randomNormal([3, 7], 0, 1, 'float32', 7)];
    const scale = tf.scalar(3, 'int32');
    await expectGradient(
      (a, b, s) => tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), tf.cast(s!, 'float32')),
      [x, w, scale],
    );
    tf.dispose([x, w, scale]);
  });

  it('refuses a gradient that is off by a factor, naming the input', async () => {
    const doubled = tf.customGrad((x) => ({
      value: tf.square(x as tf.Tensor),
      gradFunc: (dy: tf.Tensor) => tf.mul(dy, 5),
    }));
    const x = tf.tensor1d([1, 2, 3]);
    await expect(expectGradient((a) => doubled(a!), [x])).rejects.toThrow('input 0 of 1');
    x.dispose();
  });
});
