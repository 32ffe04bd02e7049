import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { expectClose, expectNoLeak } from './index.js';

describe('expectClose', () => {
  it('compares small numbers absolutely and large ones relatively', async () => {
    await expectClose([1e-4, 1000.5], [0, 1000], 1e-3);
    await expect(expectClose([0.002], [0], 1e-3)).rejects.toThrow('number 0 of 1 is 0.002, expected 0');
  });

  it('never takes NaN for close', async () => {
    await expect(expectClose([1, Number.NaN], [1, 1], 1e9)).rejects.toThrow('number 1 of 2 is NaN');
    await expect(expectClose([Number.NaN, 7], [1, 1], 1e9)).rejects.toThrow('number 0 of 2 is NaN');
  });

  it('compares the shapes of tensors', async () => {
    const [wide, tall] = [tf.ones([2, 3]), tf.ones([3, 2])];
    await expect(expectClose(wide, tall, 1)).rejects.toThrow('shape');
    tf.dispose([wide, tall]);
  });
});

describe('expectNoLeak', () => {
  it('disposes what the work returns and counts what it forgets', async () => {
    await expectNoLeak(() => [tf.ones([2]), tf.ones([3])]);
    const forgotten: tf.Tensor[] = [];
    await expect(expectNoLeak(() => void forgotten.push(tf.ones([2])))).rejects.toThrow('tensors left behind');
    tf.dispose(forgotten);
  });
});
