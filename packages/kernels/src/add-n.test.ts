import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { it } from 'vitest';

describeOnBackends('addN', () => {
  it('adds more tensors than a shader has storage buffers', async () => {
    for (const count of [1, 2, 7, 8, 13, 14, 31]) {
      const terms = Array.from({ length: count }, (_, i) => tf.tensor1d([i, 2 * i, 3]));
      const sum = tf.addN(terms);
      const ordinal = (count * (count - 1)) / 2;
      await expectClose(sum, [ordinal, 2 * ordinal, 3 * count], 0);
      await expectNoLeak(() => tf.addN(terms));
      tf.dispose([terms, sum]);
    }
  });
});
