import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { oneHotFloat, takeChosen, topKIndices } from './index.js';

describeOnBackends('topKIndices', () => {
  it('orders by score and prefers the lower index among equals', async () => {
    const scores = tf.tensor2d([
      [1, 1, 1, 1, 1],
      [0, 5, -1, 5, 7],
    ]);
    const indices = topKIndices(scores, 3);
    expect([...(await indices.data())]).toEqual([0, 1, 2, 4, 1, 3]);
    tf.dispose([scores, indices]);
  });

  it('is constant to the tape', async () => {
    const scores = tf.tensor2d([[1, 3, 2]]);
    const gradient = tf.grad((x) => tf.cast(topKIndices(x as tf.Tensor2D, 2), 'float32'))(scores);
    expect([...(await gradient.data())]).toEqual([0, 0, 0]);
    tf.dispose([scores, gradient]);
  });
});

describeOnBackends('takeChosen', () => {
  it('takes values at their places, with a gradient there and nowhere else', async () => {
    const values = tf.tensor2d([
      [2, 3, 5],
      [7, 11, 13],
    ]);
    const indices = tf.tensor2d(
      [
        [2, 0],
        [1, 2],
      ],
      [2, 2],
      'int32',
    );
    const taken = takeChosen(values, indices);
    await expectClose(taken, [5, 2, 11, 13], 0);
    await expectGradient((x) => takeChosen(x as tf.Tensor2D, indices), [values]);
    tf.dispose([values, indices, taken]);
  });
});

describeOnBackends('oneHotFloat', () => {
  it('can be summed over any axis, and knows the case of one class', async () => {
    const indices = tf.tensor2d(
      [
        [0, 2],
        [2, 1],
        [2, 2],
      ],
      [3, 2],
      'int32',
    );
    const [perClass, ones] = [
      tf.tidy(() => tf.sum(oneHotFloat(indices, 3), [0, 1])),
      oneHotFloat(tf.zerosLike(indices), 1),
    ];
    await expectClose(perClass, [1, 1, 4], 0);
    await expectClose(ones, tf.ones([3, 2, 1]), 0);
    tf.dispose([indices, perClass, ones]);
  });
});
