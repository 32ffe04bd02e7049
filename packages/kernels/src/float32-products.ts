import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

let depth = 0;

/**
 * Runs `work` with float32 products whatever precision was installed, backward passes included: for arithmetic that
 * must not be rounded, such as a router's (ST-MoE, arXiv:2202.08906, selective precision).
 *
 * @param work synchronous; only `matMul` and what is built on it listens.
 */
export function float32Products<T>(work: () => T): T {
  depth++;
  try {
    return work();
  } finally {
    depth--;
  }
}

/** Whether a `float32Products` is running. */
export function inFloat32(): boolean {
  return depth > 0;
}

/** `a [m, k] x b [k, n]` whose gradient is computed in float32 too. */
export function float32Product(a: tf.Tensor2D, b: tf.Tensor2D, transposeB: boolean): tf.Tensor2D {
  return withGradient(
    [a, b],
    () => tf.matMul(a, b, false, transposeB),
    () => [a, b],
    (dy, kept) =>
      float32Products(() => {
        const [a, b] = kept as [tf.Tensor2D, tf.Tensor2D];
        const dA = tf.matMul(dy as tf.Tensor2D, b, false, !transposeB);
        const dB = transposeB ? tf.matMul(dy as tf.Tensor2D, a, true) : tf.matMul(a, dy as tf.Tensor2D, true);
        return [dA, dB];
      }),
  );
}
