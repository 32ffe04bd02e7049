import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';

/**
 * A router's gate from what it will see of each domain (as mergekit's `hidden` gates do): the column of
 * a domain is the mean of its tokens less the mean over domains, and less what remains along that mean, since a gate has
 * no bias that could undo what all tokens share. All columns have one length: such that the logits of the counted tokens
 * have a standard deviation of 1 around their mean over the experts.
 *
 * @param rows `[tokens, hidden]` @param shares `[experts, tokens]`, each row sums to 1, 0 for tokens not counted.
 * @returns `[hidden, experts]`. Caller disposes.
 */
export function domainGate(rows: tf.Tensor2D, shares: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const means = matMul(shares, rows); // [experts, hidden]
    const common = tf.mean(means, 0, true);
    const centred = tf.sub(means, common);
    const along = tf.div(tf.sum(tf.mul(centred, common), 1, true), tf.add(tf.sum(tf.square(common)), TINY));
    const own = tf.sub(centred, tf.mul(along, common));
    const columns = tf.transpose(tf.div(own, tf.add(tf.norm(own, 2, 1, true), TINY)));
    return tf.div(columns, tf.add(spread(matMul(rows, columns), shares), TINY)) as tf.Tensor2D;
  });
}

/** Keeps domains without a difference, whose gate is 0, from being divided by 0. */
const TINY = 1e-12;

/** Standard deviation of logits `[tokens, experts]` around their mean over the experts, each domain counting alike. */
function spread(logits: tf.Tensor, shares: tf.Tensor2D): tf.Tensor {
  const around = tf.sub(logits, tf.mean(logits, 1, true));
  return tf.sqrt(tf.mean(matMul(shares, tf.square(around))));
}
