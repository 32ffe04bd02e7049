import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { assertFiniteRouting, finiteProbe } from './index.js';

const gatesWith = (value: number) => ({
  gates: [
    tf.ones<tf.Rank.R2>([3, 2]),
    tf.tensor2d([
      [1, 2, 3],
      [4, value, 5],
      [6, 7, 8],
    ]),
  ],
});

describeOnBackends('assertFiniteRouting', () => {
  it('names the layer, the token and the value of a gate that is not finite', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const routing = gatesWith(value);
      await expect(assertFiniteRouting(routing, 'layers.5')).rejects.toThrow(
        `layers.5: the gate gives token 1 the logit ${value}; its hidden state or the gate's weights are not finite.`,
      );
      tf.dispose(routing);
    }
  });

  it('accepts finite gates, and what is not finite in padding', async () => {
    const [fine, padded, mask] = [gatesWith(3), gatesWith(Number.NaN), tf.tensor1d([1, 0, 1])];
    await assertFiniteRouting(fine, 'layers.5');
    await assertFiniteRouting(padded, 'layers.5', mask);
    tf.dispose([fine, padded, mask]);
  });
});

describeOnBackends('finiteProbe', (backend) => {
  it('is 0 for finite gates', async () => {
    const routing = gatesWith(3);
    const probe = finiteProbe(routing);
    await expectClose(probe, [0], 0);
    await expectNoLeak(() => finiteProbe(routing));
    tf.dispose([routing, probe]);
  });

  // WebGPU's drivers may assume that NaN does not occur.
  it.skipIf(backend === 'webgpu')('is NaN where one number is not finite', async () => {
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      const routing = gatesWith(value);
      const probe = finiteProbe(routing);
      expect((await probe.data())[0]).toBeNaN();
      tf.dispose([routing, probe]);
    }
  });
});
