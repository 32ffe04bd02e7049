import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { RmsNorm } from './index.js';

describeOnBackends('RmsNorm', () => {
  it('starts as plain normalisation and multiplies by its weight', async () => {
    const norm = new RmsNorm(3, 1e-6);
    const x = tf.tensor3d([[[3, 4, 0]], [[-2, 2, 1]]]);
    const rms = [Math.sqrt(25 / 3), Math.sqrt(3)];
    const fresh = norm.apply(x);
    await expectClose(fresh, [3 / rms[0]!, 4 / rms[0]!, 0, -2 / rms[1]!, 2 / rms[1]!, 1 / rms[1]!], 1e-5);
    tf.tidy(() => norm.weight.assign(tf.tensor1d([2, 3, 5])));
    const scaled = norm.apply(x);
    expect(scaled.shape).toEqual([2, 1, 3]);
    await expectClose(scaled, [6 / rms[0]!, 12 / rms[0]!, 0, -4 / rms[1]!, 6 / rms[1]!, 5 / rms[1]!], 1e-5);
    await expectNoLeak(() => norm.apply(x));
    tf.dispose([x, fresh, scaled]);
    norm.dispose();
  });

  it('ignores the scale of its input and refuses another width', async () => {
    const norm = new RmsNorm(5, 1e-12);
    const x = tf.randomNormal([2, 5], 0, 1, 'float32', 1);
    const [small, large] = [norm.apply(x), tf.tidy(() => norm.apply(tf.mul(x, 1000)))];
    await expectClose(small, large, 1e-5);
    const wide = tf.ones([2, 7]);
    expect(() => norm.apply(wide)).toThrow('weight must be [7] for x [2,7], got [5]');
    tf.dispose([x, small, large, wide]);
    norm.dispose();
  });
});
