import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/**
 * Negative log-likelihood of each row's target, in nats. A negative target (-100 by convention) is not counted: loss
 * and gradient are 0.
 *
 * @param logits `[rows, vocab]`.
 * @param targets int32 `[rows]`, each below `vocab`: wasm refuses others, elsewhere check ids before.
 * @returns `[rows]`. Caller disposes.
 * @throws when `targets` is not int32 or not one per row.
 */
export function crossEntropy(logits: tf.Tensor2D, targets: tf.Tensor1D): tf.Tensor1D {
  if (targets.dtype !== 'int32' || targets.rank !== 1 || targets.shape[0] !== logits.shape[0]) {
    throw new Error(
      `crossEntropy: targets must be int32 [${logits.shape[0]}] for logits [${logits.shape}], got ${targets.dtype} [${targets.shape}].`,
    );
  }
  if (!hasFusedKernel('CrossEntropy')) return crossEntropyReference(logits, targets);
  return withGradient(
    [logits],
    () => runFusedKernel('CrossEntropy', { logits, targets }),
    () => [logits, targets],
    (dy, [logits, targets]) => runFusedKernel('CrossEntropyGradient', { dy, logits: logits!, targets: targets! }),
  );
}

/** The plain form of `crossEntropy`. Same arguments, result and gradient. */
export function crossEntropyReference(logits: tf.Tensor2D, targets: tf.Tensor1D): tf.Tensor1D {
  return tf.tidy(() => {
    const vocab = logits.shape[1];
    const counted = tf.cast(tf.greaterEqual(targets, 0), 'float32');
    // Clamped first, since tfjs-wasm's oneHot writes outside its output for a negative index; cast after, since its
    // float32 form writes integer bits.
    const clamped = tf.cast(tf.relu(tf.cast(targets, 'float32')), 'int32');
    const hot = vocab === 1 ? tf.onesLike(logits) : tf.cast(tf.oneHot(clamped, vocab), 'float32'); // oneHot wants two
    return tf.neg(tf.mul(tf.sum(tf.mul(tf.logSoftmax(logits), hot), 1), counted)) as tf.Tensor1D;
  });
}
