import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { it } from 'vitest';
import { AdamW } from './index.js';

describeOnBackends('AdamW', () => {
  it('takes longer steps where the learning rate has a factor', async () => {
    const parameters = new Map(['slow', 'fast'].map((name) => [name, tf.variable(tf.tensor1d([1, -2, 3]))]));
    const optimizer = new AdamW(parameters, { rateFactor: (path) => (path === 'fast' ? 5 : 1) });
    const gradient = tf.tensor1d([7, -11, 13]);
    optimizer.update(new Map([...parameters.keys()].map((name) => [name, gradient])), 1, 0.01, 1);
    await expectClose(parameters.get('slow')!, [0.99, -1.99, 2.99], 1e-6); // the first step of Adam has the rate's length
    await expectClose(parameters.get('fast')!, [0.95, -1.95, 2.95], 1e-6);
    optimizer.dispose();
    tf.dispose([gradient, ...parameters.values()]);
  });
});
