import * as tf from '@tensorflow/tfjs-core';

/**
 * Adds up what the levels give, for each token and head by a softmax over its gates.
 *
 * @param levels `[batch, seq, heads, headDim]` each. @param gates `[batch, seq, heads, levels]`.
 * @returns the shape of a level. Caller disposes.
 */
export function mixLevels(levels: readonly tf.Tensor4D[], gates: tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => {
    const shares = tf.split(tf.softmax(gates), levels.length, 3);
    return tf.addN(levels.map((level, i) => tf.mul(level, shares[i]!))) as tf.Tensor4D;
  });
}
