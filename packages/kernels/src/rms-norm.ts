import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/**
 * Root-mean-square layer normalisation, `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension
 * (arXiv:1910.07467).
 *
 * @param x `[..., hidden]`.
 * @param weight `[hidden]`.
 * @returns the shape of `x`. Caller disposes.
 * @throws when `weight` does not match the last dimension of `x`.
 */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor1D, epsilon: number): tf.Tensor {
  const hidden = x.shape.at(-1);
  if (weight.rank !== 1 || weight.shape[0] !== hidden) {
    throw new Error(`rmsNorm: weight must be [${hidden}] for x [${x.shape}], got [${weight.shape}].`);
  }
  if (!hasFusedKernel('RmsNorm')) return rmsNormReference(x, weight, epsilon);
  return withGradient(
    [x, weight],
    () => runFusedKernel('RmsNorm', { x, weight }, { epsilon }),
    () => [x, weight],
    (dy, [x, weight]) => runFusedKernel<tf.Tensor[]>('RmsNormGradient', { dy, x: x!, weight: weight! }, { epsilon }),
  );
}

/** The plain form of `rmsNorm`. Same arguments, result and gradient. */
export function rmsNormReference(x: tf.Tensor, weight: tf.Tensor1D, epsilon: number): tf.Tensor {
  return tf.tidy(() => {
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
    return tf.mul(tf.mul(x, inverse), weight);
  });
}
