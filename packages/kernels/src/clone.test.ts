import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { it } from 'vitest';
import { adamWUpdate } from './index.js';

const options = {
  learningRate: 0.5,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  step: 1,
  gradientScale: 1,
};

describeOnBackends('clone', () => {
  it('keeps its numbers when the optimiser writes into what it was cloned from', async () => {
    const [parameter, first, second] = [3, 0, 0].map((value) => tf.variable(tf.fill([7], value))) as [
      tf.Variable,
      tf.Variable,
      tf.Variable,
    ];
    const [copy, gradient] = [tf.clone(parameter), tf.ones([7])];
    adamWUpdate(parameter, gradient, first, second, options);
    await expectClose(copy, new Array(7).fill(3), 0);
    await expectClose(parameter, new Array(7).fill(3 * 0.95 - 0.5), 1e-5);
    await expectNoLeak(() => tf.clone(parameter));
    tf.dispose([parameter, first, second, copy, gradient]);
  });
});
