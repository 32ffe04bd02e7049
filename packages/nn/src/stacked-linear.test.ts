import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { filledVariable, StackedLinear } from './index.js';

const OFFSETS = [0, 2, 2, 7]; // the second expert has no rows

describeOnBackends('StackedLinear', () => {
  it('grouped equals one expert at a time, in value and in gradients', async () => {
    const stacked = StackedLinear.create(3, 5, 11, { seed: 1 });
    const x = tf.randomNormal<tf.Rank.R2>([7, 5], 0, 1, 'float32', 2);
    const apart = () =>
      tf.concat(
        [0, 2].map((e) => stacked.applyExpert(tf.slice(x, [OFFSETS[e]!, 0], [OFFSETS[e + 1]! - OFFSETS[e]!, -1]), e)),
      );
    const [grouped, plain] = [stacked.applyGrouped(x, OFFSETS), tf.tidy(apart)];
    await expectClose(grouped, plain, 1e-5);
    const gradient = (f: () => tf.Tensor) =>
      tf.tidy(() => tf.variableGrads(() => tf.sum(tf.square(f())) as tf.Scalar).grads[stacked.weight.name]!);
    const [a, b] = [gradient(() => stacked.applyGrouped(x, OFFSETS)), gradient(apart)];
    await expectClose(a, b, 1e-5);
    const idle = tf.tidy(() => tf.slice(a, [1, 0, 0], [1, -1, -1]));
    await expectClose(idle, new Float32Array(55), 0);
    await expectNoLeak(() => [stacked.applyGrouped(x, OFFSETS), stacked.applyExpert(x, 1)]);
    tf.dispose([x, grouped, plain, a, b, idle]);
    stacked.dispose();
  });

  it('names its sizes and refuses a weight of another rank', () => {
    const stacked = StackedLinear.create(3, 5, 7, { seed: 1 });
    expect([stacked.experts, stacked.inputSize, stacked.outputSize]).toEqual([3, 5, 7]);
    expect(() => new StackedLinear(filledVariable([5, 7], 0))).toThrow('[experts, input, output], got [5,7]');
    stacked.dispose();
  });
});
