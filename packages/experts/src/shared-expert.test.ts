import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { SharedExpert } from './index.js';

const sizes = { hidden: 5, intermediate: 3 };
const fresh = { deviation: 0.7, downDeviation: 0.5, seed: 3 };
const tokens = (count = 7) => tf.randomNormal<tf.Rank.R2>([count, 5], 0, 1, 'float32', 5);

describeOnBackends('SharedExpert', () => {
  it('is a gated feed-forward, weighed by its gate where it has one', async () => {
    const [plain, gated, hidden] = [
      SharedExpert.create(sizes, fresh),
      SharedExpert.create(sizes, { ...fresh, gate: true }),
      tokens(),
    ];
    const [whole, weighed] = [plain.apply(hidden), gated.apply(hidden)];
    const expected = tf.tidy(() => {
      const [gateUp, down] = [...plain.parameters().values()].map((w) => w as unknown as tf.Tensor2D);
      const [gate, up] = tf.split(tf.matMul(hidden, gateUp!), 2, 1) as [tf.Tensor2D, tf.Tensor2D];
      const all = tf.matMul(tf.mul(tf.mul(gate, tf.sigmoid(gate)), up), down!);
      const share = tf.sigmoid(tf.matMul(hidden, gated.parameters().get('shared_expert_gate.weight')! as tf.Tensor2D));
      return [all, tf.mul(all, share)];
    });
    await expectClose(whole, expected[0]!, 1e-5);
    await expectClose(weighed, expected[1]!, 1e-5);
    tf.dispose([hidden, whole, weighed, expected]);
    plain.dispose();
    gated.dispose();
  });

  it('has the gradients of central differences, and leaves nothing behind', async () => {
    const [layer, hidden] = [SharedExpert.create(sizes, { ...fresh, gate: true }), tokens(2)];
    await expectGradient((x) => layer.apply(x as tf.Tensor2D), [hidden]);
    await expectNoLeak(() => layer.apply(hidden));
    hidden.dispose();
    layer.dispose();
  });

  it('refuses parts that do not fit together', () => {
    const [gateUp, down, gate] = [6, 5, 2].map((size, i) => Linear.create([5, 3, 5][i]!, size, { seed: i }));
    expect(() => new SharedExpert(down!, gateUp!)).toThrow('do not fit: [3, 5] and [5, 6].');
    expect(() => new SharedExpert(gateUp!, down!, gate)).toThrow('SharedExpert: gate must be [5, 1], got [5, 2].');
    for (const part of [gateUp, down, gate]) part!.dispose();
  });
});
