import * as tf from '@tensorflow/tfjs-core';
import { seedFor } from '@therapeutic-moe/nn';

/**
 * Multiplies every number by a uniform one from `[1 - amount, 1 + amount]` (Switch Transformer's jitter,
 * arXiv:2101.03961, section 2.2). The same seed gives the same numbers on every backend.
 *
 * @param x any shape. @returns the shape of `x`. Caller disposes.
 */
export function jitter<T extends tf.Tensor>(x: T, amount: number, seed: number): T {
  return tf.tidy(() =>
    tf.mul(x, tf.randomUniform(x.shape, 1 - amount, 1 + amount, 'float32', seedFor(seed, 'jitter'))),
  );
}

/**
 * Adds Gaussian noise of one fixed standard deviation to gate outputs: noisy top-k gating (arXiv:1701.06538, section
 * 2.1) without its learned noise width.
 *
 * @param x any shape. @returns the shape of `x`. Caller disposes.
 */
export function addNoise<T extends tf.Tensor>(x: T, deviation: number, seed: number): T {
  return tf.tidy(() => tf.add(x, tf.randomNormal(x.shape, 0, deviation, 'float32', seedFor(seed, 'gate noise'))));
}
