import * as tf from '@tensorflow/tfjs-core';
import { packRows } from '@therapeutic-moe/checkpoint';
import { type FrozenDtype, frozenMatrix } from '@therapeutic-moe/kernels';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { Embedding, FrozenEmbedding, FrozenLinear, FrozenStackedLinear, Linear, StackedLinear } from './index.js';

/** float32 sums of a few products in another order. */
const SUM = 1e-5;

const dtypes: readonly FrozenDtype[] = ['int8', 'bfloat16', 'float16'];

/** Seeded weights `[..., outputSize, inputSize]`, frozen. */
function freeze(shape: number[], dtype: FrozenDtype, seed: number) {
  const values = tf.tidy(() => tf.randomNormal(shape, 0, 1, 'float32', seed).dataSync<'float32'>());
  const columns = shape.at(-1)!;
  return frozenMatrix(packRows(Float32Array.from(values), [values.length / columns, columns], dtype), shape, dtype);
}

describeOnBackends('frozen layers', () => {
  it('a frozen linear equals the linear of its dense weight, with the gradients of x and bias', async () => {
    for (const dtype of dtypes) {
      const frozen = new FrozenLinear(
        freeze([5, 7], dtype, 3),
        tf.tidy(() => tf.variable(tf.range(0, 5))),
      );
      const [dense, bias] = tf.tidy(() => [tf.variable(frozen.dense()), tf.variable(tf.range(0, 5))] as const);
      const plain = new Linear(dense, bias);
      const x = tf.randomNormal([2, 3, 7], 0, 1, 'float32', 5);
      const results = [frozen, plain].map((layer) =>
        tf.tidy(() => {
          const run = (x: tf.Tensor) => tf.sum(tf.sin(layer.apply(x))) as tf.Scalar;
          return [
            layer.apply(x),
            tf.grad(run)(x),
            tf.variableGrads(() => run(x), [layer.bias!]).grads[layer.bias!.name]!,
          ];
        }),
      );
      for (const [i, result] of results[0]!.entries()) await expectClose(result, results[1]![i]!, SUM);
      expect([frozen.inputSize, frozen.outputSize, [...frozen.parameters().keys()]]).toEqual([7, 5, ['bias']]);
      await expectNoLeak(() => [frozen.apply(x), frozen.dense()]);
      tf.dispose([x, results]);
      frozen.dispose();
      plain.dispose();
    }
  });

  it('frozen experts equal the experts of their dense weights, together and one at a time', async () => {
    for (const dtype of dtypes) {
      const frozen = new FrozenStackedLinear(freeze([3, 5, 7], dtype, 3));
      const plain = new StackedLinear(tf.tidy(() => tf.variable(frozen.dense())));
      const x = tf.randomNormal<tf.Rank.R2>([11, 7], 0, 1, 'float32', 5);
      expect([frozen.experts, frozen.inputSize, frozen.outputSize]).toEqual([3, 7, 5]);
      for (const run of [
        (layer: FrozenStackedLinear | StackedLinear) => layer.applyGrouped(x, [0, 2, 2, 11]),
        (layer: FrozenStackedLinear | StackedLinear) => layer.applyExpert(x, 1),
        (layer: FrozenStackedLinear | StackedLinear) => layer.applyExpert(x, 2),
      ]) {
        const [y, expected] = [run(frozen), run(plain)];
        await expectClose(y, expected, SUM);
        await expectNoLeak(() => run(frozen));
        tf.dispose([y, expected]);
      }
      x.dispose();
      frozen.dispose();
      plain.dispose();
    }
  });

  it('a frozen embedding looks rows up and scores against them', async () => {
    for (const dtype of dtypes) {
      const frozen = new FrozenEmbedding(freeze([11, 5], dtype, 3));
      const plain = Embedding.create(11, 5, { deviation: 1, seed: 1 });
      const eye = tf.range(0, 11, 1, 'int32');
      tf.tidy(() => plain.weight.assign(frozen.apply(eye)));
      const ids = tf.tensor2d([7, 0, 7, 2, 10, 1], [2, 3], 'int32');
      const hidden = tf.randomNormal<tf.Rank.R2>([3, 5], 0, 1, 'float32', 5);
      const results = [frozen, plain].map((layer) => [layer.apply(ids), layer.logits(hidden)]);
      for (const [i, result] of results[0]!.entries()) await expectClose(result, results[1]![i]!, SUM);
      expect([frozen.vocabSize, frozen.hiddenSize, frozen.parameters().size]).toEqual([11, 5, 0]);
      tf.dispose([eye, ids, hidden, results]);
      frozen.dispose();
      plain.dispose();
    }
  });

  it('disposes its weight, and refuses one of another rank', () => {
    const before = tf.memory().numTensors;
    const [weight, stack] = [freezeZeros([5, 8]), freezeZeros([2, 5, 8])];
    expect(() => new FrozenLinear(stack)).toThrow('FrozenLinear: weight must be [output, words], got [2,5,2].');
    expect(() => new FrozenEmbedding(stack)).toThrow('FrozenEmbedding: weight must be [vocab, words], got [2,5,2].');
    expect(() => new FrozenStackedLinear(weight)).toThrow('weight must be [experts, output, words], got [5,2].');
    const bias = tf.tidy(() => tf.variable(tf.zeros([7])));
    expect(() => new FrozenLinear(weight, bias)).toThrow('bias must be [5] as the weight has rows, got [7].');
    new FrozenLinear(weight).dispose();
    new FrozenStackedLinear(stack).dispose();
    bias.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

function freezeZeros(shape: number[]) {
  const rows = shape.slice(0, -1).reduce((product, size) => product * size);
  return frozenMatrix(packRows(new Float32Array(rows * shape.at(-1)!), [rows, shape.at(-1)!], 'int8'), shape, 'int8');
}
