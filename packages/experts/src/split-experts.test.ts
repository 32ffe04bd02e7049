import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { SwiGluExperts, splitExperts } from './index.js';

const create = () =>
  SwiGluExperts.create({ experts: 2, hidden: 5, intermediate: 21 }, { deviation: 1, downDeviation: 0.7, seed: 3 });

describeOnBackends('splitExperts', () => {
  it('gives parts that add up to the whole', async () => {
    const whole = create();
    const parts = splitExperts(whole, 3);
    expect([parts.experts, parts.hidden, parts.down.inputSize]).toEqual([6, 5, 7]);
    const hidden = tf.randomNormal<tf.Rank.R2>([11, 5], 0, 1, 'float32', 5);
    for (const expert of [0, 1]) {
      const expected = whole.applyExpert(hidden, expert);
      const sum = tf.tidy(() => tf.addN([0, 1, 2].map((part) => parts.applyExpert(hidden, 3 * expert + part))));
      await expectClose(sum, expected, 2e-5);
      tf.dispose([expected, sum]);
    }
    hidden.dispose();
    whole.dispose();
    parts.dispose();
  });

  it('leaves nothing behind, and refuses a number of parts that does not divide', async () => {
    const whole = create();
    await expectNoLeak(() => splitExperts(whole, 7).dispose());
    expect(() => splitExperts(whole, 2)).toThrow('an intermediate size of 21 cannot be cut into 2 equal parts');
    expect(() => splitExperts(whole, 0)).toThrow('cut into 0 equal parts; use a divisor.');
    whole.dispose();
  });
});
