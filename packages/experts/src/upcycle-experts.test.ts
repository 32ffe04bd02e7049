import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { applyPool, createPool, disposePools, HIDDEN, INTERMEDIATE, randomTokens, SUM } from '../test/create-pool.js';
import { upcycleExperts } from './index.js';

const dense = () => ({
  gateUp: tf.randomNormal([HIDDEN, 2 * INTERMEDIATE], 0, 1, 'float32', 19),
  down: tf.randomNormal([INTERMEDIATE, HIDDEN], 0, 1, 'float32', 23),
});

/** The dense layer in plain ops. */
function applyDense(hidden: tf.Tensor2D, { gateUp, down }: ReturnType<typeof dense>): tf.Tensor {
  return tf.tidy(() => {
    const [gate, up] = tf.split(tf.matMul(hidden, gateUp), 2, 1) as [tf.Tensor, tf.Tensor];
    return tf.matMul(tf.mul(tf.mul(gate, tf.sigmoid(gate)), up), down);
  });
}

describeOnBackends('upcycleExperts', () => {
  for (const softmaxOrder of ['before-top-k', 'after-top-k'] as const) {
    it(`equals the dense layer at step 0, softmax ${softmaxOrder}`, async () => {
      const [weights, hidden, pool] = [dense(), randomTokens(), createPool(5, 2, { softmaxOrder })];
      const experts = upcycleExperts(weights.gateUp, weights.down, { experts: 5 });
      const [mixed, plain] = [applyPool({ ...pool, experts }, hidden), applyDense(hidden, weights)];
      await expectClose(mixed, plain, SUM);
      tf.dispose([weights, hidden, mixed, plain]);
      experts.dispose();
      disposePools(pool);
    });
  }

  it('with noise keeps the first copy exact and moves each other one differently', async () => {
    const weights = dense();
    const experts = upcycleExperts(weights.gateUp, weights.down, { experts: 3, noise: { deviation: 0.1, seed: 29 } });
    const stack = [...(await experts.parameters().get('down_proj')!.data())];
    const exact = [...(await weights.down.data())];
    const [first, second, third] = [0, 1, 2].map((e) => stack.slice(e * exact.length, (e + 1) * exact.length));
    expect(first).toEqual(exact);
    const distance = (a: number[], b: number[]) => Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0));
    const size = Math.sqrt(exact.length); // of deviation 1
    for (const [a, b] of [
      [second!, exact],
      [third!, exact],
      [second!, third!],
    ] as const) {
      expect(distance(a, b) / size).toBeGreaterThan(0.03);
      expect(distance(a, b) / size).toBeLessThan(0.3);
    }
    tf.dispose(weights);
    experts.dispose();
  });

  it('leaves nothing behind but the experts, and the dense weights to their owner', async () => {
    const weights = dense();
    await expectNoLeak(() => upcycleExperts(weights.gateUp, weights.down, { experts: 3 }).dispose());
    expect([weights.gateUp.isDisposed, weights.down.isDisposed]).toEqual([false, false]);
    tf.dispose(weights);
  });

  it('refuses matrices that do not fit together', () => {
    const weights = dense();
    expect(() => upcycleExperts(weights.gateUp, weights.gateUp, { experts: 2 })).toThrow(
      'upcycleExperts: down must be [3, 5], got [5, 6].',
    );
    expect(() => upcycleExperts(weights.gateUp, weights.down, { experts: 0 })).toThrow(
      'experts must be a whole number of 1 or more, got 0',
    );
    tf.dispose(weights);
  });
});
