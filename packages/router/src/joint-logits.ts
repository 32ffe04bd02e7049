import * as tf from '@tensorflow/tfjs-core';

/** Two levels of gates over experts in groups. A type, so that `tf.tidy` can return it. */
export type JointLogits = {
  /** Log-probability of each group `[tokens, groups]`. */
  readonly group: tf.Tensor2D;
  /** Log-probability of each expert within its group `[tokens * groups, group size]`. */
  readonly within: tf.Tensor2D;
  /** Their sum, `log p(group) p(expert | group)`, `[tokens, experts]`: log-probabilities that sum to 1 over experts. */
  readonly joint: tf.Tensor2D;
};

/**
 * Log-probabilities of a two-level mixture (Jordan and Jacobs 1994, eq. 5: the joint is the product along the path).
 *
 * @param groupGate raw outputs `[tokens, groups]`. @param expertGate raw outputs `[tokens, experts]`, experts of a group
 *   side by side. @returns three tensors. Caller disposes.
 */
export function jointLogits(groupGate: tf.Tensor2D, expertGate: tf.Tensor2D): JointLogits {
  return tf.tidy(() => {
    const [tokens, groups] = groupGate.shape;
    const experts = expertGate.shape[1];
    const group = tf.logSoftmax(groupGate);
    const within = tf.logSoftmax(tf.reshape(expertGate, [tokens * groups, experts / groups])) as tf.Tensor2D;
    const joint = tf.reshape(tf.add(within, tf.reshape(group, [-1, 1])), [tokens, experts]);
    return { group, within, joint: joint as tf.Tensor2D };
  });
}
