import * as tf from '@tensorflow/tfjs-core';
import { packRows } from '@therapeutic-moe/checkpoint';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { afterEach, expect, it } from 'vitest';
import {
  adamWUpdate,
  float32Products,
  frozenMatMul,
  frozenMatrix,
  groupedFrozenMatMul,
  groupedMatMul,
  installKernels,
  matMul,
  thaw,
  writeRows,
} from './index.js';

/**
 * bfloat16 keeps 8 bits, so rounding moves a number by at most 2^-8 of it: both operands of each summand, and the sum.
 * What float32 adds and the products of these errors are far below the hundredth part.
 */
const BOUND = 3 * 2 ** -8 * 1.01;

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);

/** The greatest error of a product, as a share of the sum of its summands' magnitudes. */
async function relativeError(
  product: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  [a, b]: [tf.Tensor, tf.Tensor],
): Promise<number> {
  await installKernels('tensorflow', { precision: 'bfloat16' });
  const rounded = product(a, b);
  await installKernels('tensorflow');
  const error = tf.tidy(() => {
    const magnitude = product(tf.abs(a), tf.abs(b));
    return tf.max(tf.div(tf.abs(tf.sub(rounded, product(a, b))), magnitude));
  });
  const [greatest] = await error.data();
  tf.dispose([rounded, error]);
  return greatest!;
}

/** The same of a product with a weight that is frozen, given the magnitudes of the weight. */
async function frozenError(
  product: (x: tf.Tensor, magnitudes?: tf.Tensor) => tf.Tensor,
  [x, magnitudes]: [tf.Tensor, tf.Tensor],
): Promise<number> {
  await installKernels('tensorflow', { precision: 'bfloat16' });
  const rounded = product(x);
  await installKernels('tensorflow');
  const error = tf.tidy(() => tf.max(tf.div(tf.abs(tf.sub(rounded, product(x))), product(tf.abs(x), magnitudes))));
  const [greatest] = await error.data();
  tf.dispose([rounded, error]);
  return greatest!;
}

describeOnBackends('precision', (backend) => {
  const here = it.runIf(backend === 'tensorflow');
  const elsewhere = it.skipIf(backend === 'tensorflow');
  afterEach(async () => {
    await installKernels(backend);
  });

  here('bfloat16 rounds products, in every transposition, within its bound', async () => {
    for (const [ta, tb] of [
      [false, false],
      [false, true],
      [true, false],
    ] as const) {
      const [a, b] = [random(ta ? [139, 131] : [131, 139], 2), random(tb ? [149, 139] : [139, 149], 3)];
      const error = await relativeError((a, b) => matMul(a, b, ta, tb), [a, b]);
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(BOUND);
      tf.dispose([a, b]);
    }
  });

  here('bfloat16 rounds grouped products and their gradients within its bound', async () => {
    const offsets = [0, 3, 151];
    const [x, weights, dy] = [random([151, 131], 2), random([2, 131, 137], 3), random([151, 137], 5)];
    const grouped = (x: tf.Tensor, w: tf.Tensor) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, offsets);
    const errors = [
      await relativeError(grouped, [x, weights]),
      await relativeError((dy, w) => tf.grad((x) => grouped(x, w))(x, dy), [dy, weights]),
      await relativeError((dy, x) => tf.grad((w) => grouped(x, w))(weights, dy), [dy, x]),
    ];
    for (const error of errors) {
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(BOUND);
    }
    tf.dispose([x, weights, dy]);
  });

  here('bfloat16 rounds x of products with frozen weights, within its bound', async () => {
    const [x, dy] = [random([137, 131], 2), random([137, 139], 3)];
    const weights = random([139, 131], 5);
    const values = await weights.data<'float32'>();
    for (const dtype of ['int8', 'bfloat16', 'float16'] as const) {
      const frozen = frozenMatrix(packRows(Float32Array.from(values), [139, 131], dtype), [139, 131], dtype);
      const stack = frozenMatrix(packRows(Float32Array.from(values), [139, 131], dtype), [1, 139, 131], dtype);
      const magnitudes = tf.tidy(() => tf.abs(thaw(frozen)));
      const one = (x: tf.Tensor) => frozenMatMul(x, frozen);
      const grouped = (x: tf.Tensor) => groupedFrozenMatMul(x as tf.Tensor2D, stack, [0, 137]);
      for (const run of [one, grouped]) {
        const forward = (x: tf.Tensor, w?: tf.Tensor) => (w ? matMul(x, w) : run(x));
        const backward = (dy: tf.Tensor, w?: tf.Tensor) => (w ? matMul(dy, w, false, true) : tf.grad(run)(x, dy));
        for (const error of [
          await frozenError(forward, [x, magnitudes]),
          await frozenError(backward, [dy, magnitudes]),
        ]) {
          expect(error).toBeGreaterThan(0);
          expect(error).toBeLessThan(BOUND);
        }
      }
      tf.dispose([frozen, stack, magnitudes]);
    }
    tf.dispose([x, dy, weights]);
  });

  here('bfloat16 keeps no copy of a frozen weight, as it does of x', async () => {
    const { binding } = tf.backend() as unknown as { binding: { getNumOfTensors(): number } };
    await installKernels('tensorflow', { precision: 'bfloat16' });
    const frozen = frozenMatrix(packRows(new Float32Array(139 * 131), [139, 131], 'bfloat16'), [139, 131], 'bfloat16');
    const x = random([137, 131], 2);
    tf.dispose(frozenMatMul(x, frozen)); // brings both to the device
    const other = tf.add(x, 1);
    const before = binding.getNumOfTensors();
    tf.dispose(frozenMatMul(other, frozen));
    expect(binding.getNumOfTensors()).toBe(before + 1);
    tf.dispose([frozen, x, other]);
  });

  here('leaves products with a short side and float32 itself as they are, bit by bit', async () => {
    for (const [rows, inner, columns] of [
      [1021, 257, 127], // a gate
      [1, 257, 131],
      [131, 7, 139],
    ] as const) {
      const [a, b] = [random([rows, inner], 2), random([inner, columns], 3)];
      expect(await relativeError((a, b) => matMul(a, b), [a, b])).toBe(0);
      tf.dispose([a, b]);
    }
  });

  here('leaves what must be float32 as it is, gradients included', async () => {
    for (const transpose of [false, true]) {
      const [a, b] = [random([131, 139], 2), random(transpose ? [149, 139] : [139, 149], 3)];
      const dy = random([131, 149], 5);
      const exact = (a: tf.Tensor, b: tf.Tensor) => float32Products(() => matMul(a, b, false, transpose));
      expect(await relativeError(exact, [a, b])).toBe(0);
      expect(await relativeError((dy, b) => tf.grad((a) => exact(a, b))(a, dy), [dy, b])).toBe(0);
      expect(await relativeError((dy, a) => tf.grad((b) => exact(a, b))(b, dy), [dy, a])).toBe(0);
      tf.dispose([a, b, dy]);
    }
  });

  here('rounds a weight anew when it was assigned or updated in place, and frees what it rounded', async () => {
    const { binding } = tf.backend() as unknown as { binding: { getNumOfTensors(): number } };
    const before = binding.getNumOfTensors();
    await installKernels('tensorflow', { precision: 'bfloat16' });
    const x = random([131, 137], 2);
    const [weight, first, second] = [1, 0, 0].map((value) =>
      tf.tidy(() => tf.variable(tf.fill([137, 139], value))),
    ) as [tf.Variable, tf.Variable, tf.Variable];
    const sum = async () => {
      const total = tf.tidy(() => tf.sum(tf.abs(matMul(x, weight))));
      const [value] = await total.data();
      total.dispose();
      return value!;
    };
    const once = await sum();
    expect(await sum()).toBe(once);
    tf.tidy(() => weight.assign(tf.fill([137, 139], 2)));
    expect((await sum()) / once).toBeCloseTo(2, 3);
    const gradient = tf.ones([137, 139]);
    const options = {
      learningRate: 1,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0,
      gradientScale: 1,
      step: 1,
    };
    adamWUpdate(weight, gradient, first, second, options); // by 1 against the gradient's sign
    expect((await sum()) / once).toBeCloseTo(1, 3);
    tf.dispose([x, weight, first, second, gradient]);
    expect(binding.getNumOfTensors()).toBe(before);
  });

  elsewhere('bfloat16 is refused, with the way out', async () => {
    await expect(installKernels(backend, { precision: 'bfloat16' })).rejects.toThrow(
      `installKernels: precision 'bfloat16' needs the backend 'tensorflow', got '${backend}'; it computes in float32.`,
    );
  });

  here('bfloat16 reads rows that were written in place', async () => {
    await installKernels('tensorflow', { precision: 'bfloat16' });
    const [x, target] = [random([128, 128], 1), random([128, 128], 2)] as [tf.Tensor2D, tf.Tensor2D];
    const before = matMul(x, target); // rounds the target and keeps that
    const rows = tf.zeros<tf.Rank.R2>([128, 128]);
    expect(writeRows(target, rows, new Array(128).fill(0))).toBe(target);
    const after = matMul(x, target);
    expect(Math.max(...(await after.data()).map(Math.abs))).toBe(0);
    tf.dispose([x, target, before, rows, after]);
  });

  it('knows two precisions', async () => {
    await expect(installKernels(backend, { precision: 'half' as 'bfloat16' })).rejects.toThrow(
      "precision must be float32 or bfloat16, got 'half'",
    );
  });
});
