import type { Tensor } from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/** What can be compared: a tensor, or its numbers in row-major order. */
export type Comparable = Tensor | ArrayLike<number>;

/**
 * Asserts that all numbers differ by at most `tolerance`, absolutely where the expected number is below 1 in size and
 * relative to it where above. Shapes must agree when both sides are tensors; NaN is never close.
 *
 * @param actual, expected tensors (not disposed) or numbers.
 */
export async function expectClose(actual: Comparable, expected: Comparable, tolerance: number): Promise<void> {
  if (isTensor(actual) && isTensor(expected)) expect(actual.shape, 'shape').toEqual(expected.shape);
  const [got, wanted] = [await numbersOf(actual), await numbersOf(expected)];
  expect(got.length, 'how many numbers').toBe(wanted.length);
  let worst = -1;
  let worstError = 0;
  for (let i = 0; i < wanted.length; i++) {
    const error = Math.abs(got[i]! - wanted[i]!) / Math.max(1, Math.abs(wanted[i]!));
    if (error <= worstError) continue; // false for NaN
    worst = i;
    worstError = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
  }
  expect(
    worstError,
    `expectClose: number ${worst} of ${wanted.length} is ${got[worst]}, expected ${wanted[worst]}; relative error`,
  ).toBeLessThanOrEqual(tolerance);
}

function isTensor(value: Comparable): value is Tensor {
  return 'dataId' in value;
}

async function numbersOf(value: Comparable): Promise<ArrayLike<number>> {
  return isTensor(value) ? value.data() : value;
}
