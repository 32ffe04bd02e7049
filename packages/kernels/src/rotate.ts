import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/**
 * Rotary position embedding in Hugging Face's half-split layout (RoFormer, arXiv:2104.09864, eq. 34): the pair
 * `(i, i + headDim / 2)` of every head turns by its position's angle. The gradient is the turn back.
 *
 * @param x `[batch, seq, heads, headDim]`.
 * @param cos `[seq, headDim / 2]`, constant to the tape.
 * @param sin `[seq, headDim / 2]`, constant to the tape.
 * @returns the shape of `x`. Caller disposes.
 * @throws when the tables do not match `seq` and `headDim`.
 */
export function rotate(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor4D {
  const [, seq, , headDim] = x.shape;
  for (const [name, table] of [
    ['cos', cos],
    ['sin', sin],
  ] as const) {
    if (table.shape[0] !== seq || table.shape[1] * 2 !== headDim) {
      throw new Error(`rotate: ${name} must be [${seq}, ${headDim / 2}] for x [${x.shape}], got [${table.shape}].`);
    }
  }
  return turn(x, cos, sin, 1);
}

function turn(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D, direction: 1 | -1): tf.Tensor4D {
  if (!hasFusedKernel('Rotate')) return rotateReference(x, cos, direction === 1 ? sin : tf.neg(sin));
  return withGradient(
    [x],
    () => runFusedKernel('Rotate', { x, cos, sin }, { direction }),
    () => [cos, sin],
    (dy, [cos, sin]) => runFusedKernel('Rotate', { x: dy, cos: cos!, sin: sin! }, { direction: -direction }),
  );
}

/** The plain form of `rotate`. Same arguments, result and gradient. */
export function rotateReference(x: tf.Tensor4D, cos: tf.Tensor2D, sin: tf.Tensor2D): tf.Tensor4D {
  return tf.tidy(() => {
    const [a, b] = tf.split(x, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    const c = tf.expandDims(cos, 1); // [seq, 1, headDim / 2]
    const s = tf.expandDims(sin, 1);
    return tf.concat4d([tf.sub(tf.mul(a, c), tf.mul(b, s)), tf.add(tf.mul(b, c), tf.mul(a, s))], 3);
  });
}
