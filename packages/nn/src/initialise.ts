import * as tf from '@tensorflow/tfjs-core';
import { unfilled } from '@therapeutic-moe/kernels';

/**
 * A variable of normally distributed values (zeros at once when the deviation is 0). The same seed gives the same
 * values on every backend, since they are drawn on the host.
 *
 * @returns a variable that the caller owns.
 */
export function normalVariable(shape: number[], deviation: number, seed: number): tf.Variable {
  if (deviation === 0) return filledVariable(shape, 0);
  return tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, deviation, 'float32', seed)));
}

/** A variable filled with one value; the caller owns it. */
export function filledVariable(shape: number[], value: number): tf.Variable {
  return tf.tidy(() => tf.variable(tf.fill(shape, value)));
}

/** A variable of any values, all of which are written before they are read; the caller owns it. */
export function unfilledVariable(shape: number[]): tf.Variable {
  return tf.tidy(() => tf.variable(unfilled(shape)));
}

/**
 * A seed of its own for each named part, so that adding a layer does not change the values of the others (FNV-1a over
 * the path).
 *
 * @returns an odd integer in `[1, 2^31)`.
 */
export function seedFor(seed: number, path: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x01000193);
  return (hash >>> 1) | 1;
}
