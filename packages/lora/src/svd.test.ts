import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type HostMatrix, lowRankSvd, orthonormal, type Svd, svd } from './svd.js';

/** Of values around 1, computed in float64. */
const ROUNDING = 1e-11;
/** Products of float32. */
const ROUNDING_32 = 1e-5;

function randomMatrix(rows: number, columns: number, seed = 1): HostMatrix {
  let state = seed;
  const next = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647 - 0.5;
  };
  return { values: Float64Array.from({ length: rows * columns }, next), rows, columns };
}

function productOf({ u, s, v }: Svd): number[] {
  return [...u[0]!].flatMap((_, row) =>
    [...v[0]!].map((_, column) => s.reduce((sum, value, k) => sum + u[k]![row]! * value * v[k]![column]!, 0)),
  );
}

const largest = (values: Iterable<number>) => Math.max(...[...values].map(Math.abs));
const gap = (a: ArrayLike<number>, b: ArrayLike<number>) => largest(Array.from(a, (value, i) => value - b[i]!));

function expectOrthonormal(vectors: readonly Float64Array[]): void {
  for (const [i, a] of vectors.entries())
    for (const [j, b] of vectors.entries()) {
      const product = a.reduce((sum, value, k) => sum + value * b[k]!, 0);
      expect(Math.abs(product - (i === j ? 1 : 0))).toBeLessThan(ROUNDING);
    }
}

/** `diag(s)` turned by two bases. */
function matrixOf(s: readonly number[], rows: number, columns: number): HostMatrix {
  const basis = (size: number, seed: number) => {
    const { values } = randomMatrix(s.length, size, seed);
    return orthonormal(s.map((_, i) => (values as Float64Array).slice(i * size, (i + 1) * size)));
  };
  const product = productOf({ u: basis(rows, 3), s: Float64Array.from(s), v: basis(columns, 5) });
  return { values: Float64Array.from(product), rows, columns };
}

describe('svd', () => {
  it.each([
    [13, 7],
    [7, 13],
    [11, 11],
    [1, 5],
  ])('takes [%i, %i] apart into perpendicular vectors and puts it together again', (rows, columns) => {
    const matrix = randomMatrix(rows, columns);
    const whole = svd(matrix, Math.min(rows, columns));
    expect(gap(productOf(whole), matrix.values)).toBeLessThan(ROUNDING);
    expectOrthonormal(whole.u);
    expectOrthonormal(whole.v);
    expect([...whole.s]).toEqual([...whole.s].sort((a, b) => b - a));
  });

  it('finds singular values far apart, equal ones and zeros', () => {
    const s = [1e4, 3, 3, 3, 1e-3, 0, 0];
    const found = svd(matrixOf(s, 17, 11), 7);
    for (const [i, value] of s.entries()) expect(Math.abs(found.s[i]! - value)).toBeLessThan(ROUNDING * 100);
    expect(found.u.concat(found.v).every((vector) => vector.every(Number.isFinite))).toBe(true);
  });

  it('gives the nearest matrix of a lower rank: what is left is as long as the values left out', () => {
    const matrix = randomMatrix(19, 13);
    const [cut, whole] = [svd(matrix, 5), svd(matrix, 13)];
    const product = productOf(cut);
    const left = Math.sqrt(
      Float64Array.from(matrix.values).reduce((sum, value, i) => sum + (value - product[i]!) ** 2, 0),
    );
    expect(Math.abs(left - Math.hypot(...whole.s.subarray(5)))).toBeLessThan(ROUNDING);
  });

  it('serves a matrix of zeros', () => {
    const { u, s, v } = svd({ values: new Float32Array(15), rows: 5, columns: 3 }, 2);
    expect([...s]).toEqual([0, 0]);
    expect(u.concat(v).every((vector) => vector.every(Number.isFinite))).toBe(true);
  });

  it('refuses a rank that the matrix cannot have', () => {
    expect(() => svd(randomMatrix(5, 3), 4)).toThrow('svd: rank 4 exceeds the shorter side of [5, 3]');
  });
});

const onDevice = ({ values, rows, columns }: HostMatrix) =>
  tf.tensor2d(Float32Array.from(values), [rows, columns], 'float32');

describeOnBackends('lowRankSvd', () => {
  it('meets a matrix of low rank to rounding, without an iteration', async () => {
    const matrix = matrixOf([5, 3, 2], 31, 23);
    const device = onDevice(matrix);
    const found = await lowRankSvd(device, 3, 0, 7);
    expect(gap(productOf(found), matrix.values)).toBeLessThan(ROUNDING_32);
    expectOrthonormal(found.u);
    device.dispose();
  });

  it('comes nearer with each iteration, to what the whole decomposition gives', async () => {
    const matrix = matrixOf(
      Array.from({ length: 37 }, (_, i) => 0.8 ** i),
      43,
      37,
    );
    const device = onDevice(matrix);
    const exact = productOf(svd(matrix, 3));
    const gaps: number[] = [];
    for (const iterations of [0, 1, 8]) gaps.push(gap(productOf(await lowRankSvd(device, 3, iterations, 7)), exact));
    expect(gaps).toEqual([...gaps].sort((a, b) => b - a));
    expect(gaps[2]).toBeLessThan(ROUNDING_32);
    device.dispose();
  });

  it('gives the same for the same seed, and another for another', async () => {
    const device = onDevice(randomMatrix(29, 31));
    const [first, same, other] = [
      await lowRankSvd(device, 3, 1, 7),
      await lowRankSvd(device, 3, 1, 7),
      await lowRankSvd(device, 3, 1, 8),
    ];
    expect(same).toEqual(first);
    expect(other).not.toEqual(first);
    device.dispose();
  });

  it('refuses a rank that the matrix cannot have, and leaves nothing behind', async () => {
    const device = onDevice(randomMatrix(5, 3));
    await expect(lowRankSvd(device, 4, 1, 1)).rejects.toThrow('lowRankSvd: rank 4 exceeds the shorter side of [5, 3]');
    await expectNoLeak(async () => void (await lowRankSvd(device, 2, 1, 1)));
    device.dispose();
  });
});

describe('orthonormal', () => {
  it('gives a vector that depends on others a direction of its own', () => {
    const [a, b] = [Float64Array.of(1, 2, 3, 5), Float64Array.of(0, 0, 1, 0)];
    const sum = a.map((value, i) => 1e15 * (value - 3 * b[i]!));
    const basis = orthonormal([a, b, sum, new Float64Array(4)]);
    expect(basis).toHaveLength(4);
    expectOrthonormal(basis);
  });
});
