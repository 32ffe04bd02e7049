import * as tf from '@tensorflow/tfjs-core';
import { StackedLinear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { GeluExperts, type HiddenAct, StackedVector } from './index.js';

/** tfjs computes the error function to 1.5e-7. */
const ERF = 1e-6;

/** Expert 1 of two, with matrices of 1, so that its output is the activation of its input. */
function activation(hiddenAct: HiddenAct, values: number[], bias = 0): tf.Tensor {
  const ones = () => new StackedLinear(tf.tidy(() => tf.variable(tf.ones([2, 1, 1]))));
  const biases = { up: StackedVector.filled(2, 1, bias), down: StackedVector.filled(2, 1, 2 * bias) };
  const layer = new GeluExperts(ones(), ones(), hiddenAct, biases);
  const output = tf.tidy(() => layer.applyExpert(tf.tensor2d(values, [values.length, 1]), 1));
  layer.dispose();
  return output;
}

describeOnBackends('GeluExperts', () => {
  const inputs = [-3, -1, 0, 0.5, 1, 2];

  it('computes gelu as PyTorch prints it', async () => {
    const [exact, approximate] = [activation('gelu', inputs), activation('gelu_pytorch_tanh', inputs)];
    await expectClose(exact, [-0.00404969, -0.15865526, 0, 0.34573123, 0.84134475, 1.9544997], ERF);
    await expectClose(approximate, [-0.00363739, -0.15880801, 0, 0.345714, 0.841192, 1.9545977], ERF);
    tf.dispose([exact, approximate]);
  });

  it('adds its biases before and after the activation', async () => {
    const [biased, moved] = [activation('gelu', [1.5], 0.5), activation('gelu', [2])];
    const expected = tf.add(moved, 1);
    await expectClose(biased, expected, ERF);
    tf.dispose([biased, moved, expected]);
  });

  it('names its parameters, biases only where it has them', () => {
    const sizes = { experts: 3, hidden: 5, intermediate: 7 };
    const options = { deviation: 1, downDeviation: 1, seed: 1 };
    const shapes = (layer: GeluExperts) =>
      Object.fromEntries([...layer.parameters()].map(([name, { shape }]) => [name, shape]));
    const [plain, biased] = [GeluExperts.create(sizes, options), GeluExperts.create(sizes, { ...options, bias: true })];
    expect(shapes(plain)).toEqual({ up_proj: [3, 5, 7], down_proj: [3, 7, 5] });
    expect(shapes(biased)).toEqual({ ...shapes(plain), up_proj_bias: [3, 7], down_proj_bias: [3, 5] });
    plain.dispose();
    biased.dispose();
  });

  it('refuses parts that do not fit and an unknown activation', () => {
    const [up, down] = [StackedLinear.create(2, 5, 3, { seed: 1 }), StackedLinear.create(2, 3, 5, { seed: 2 })];
    const biases = { up: StackedVector.filled(2, 3, 0), down: StackedVector.filled(2, 7, 0) };
    expect(() => new GeluExperts(up, up, 'gelu')).toThrow('do not fit: [2,5,3] and [2,5,3].');
    expect(() => new GeluExperts(up, down, 'gelu', biases)).toThrow('biases.down must be [2, 5], got [2, 7].');
    expect(() => new GeluExperts(up, down, 'relu' as HiddenAct)).toThrow(
      "GeluExperts: hiddenAct must be one of gelu, gelu_pytorch_tanh, got 'relu'.",
    );
    for (const part of [up, down, biases.up, biases.down]) part.dispose();
  });
});
