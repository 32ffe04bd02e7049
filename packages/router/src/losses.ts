import * as tf from '@tensorflow/tfjs-core';
import { dims } from '@therapeutic-moe/nn';
import type { RoutePass, Routing } from './routing.js';
import { oneHotFloat } from './top-k.js';

/** Keeps log of an expert that nobody visits finite. */
const TINY = 1e-9;

/**
 * Mean over the tokens that count.
 *
 * @param values `[tokens, n]`.
 * @param mask `[tokens]`, 1 where the token is real; absent: all are.
 * @returns `[n]`. Caller disposes.
 */
export function maskedMean(values: tf.Tensor2D, mask?: tf.Tensor1D): tf.Tensor1D {
  if (mask) dims('router losses: mask', mask, ['tokens'], { tokens: values.shape[0] });
  return tf.tidy(() => {
    if (!mask) return tf.mean(values, 0) as tf.Tensor1D;
    const weight = tf.expandDims(mask, 1);
    return tf.div(tf.sum(tf.mul(values, weight), 0), tf.maximum(tf.sum(mask), 1)) as tf.Tensor1D;
  });
}

/**
 * Kullback-Leibler divergence of the mean routing probabilities from uniform, in nats: `sum p log(p E)`. 0 when the
 * experts share evenly on average, `log E` when one takes all. It acts on probabilities, so it has a gradient where
 * counts have none.
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns a scalar. Caller disposes.
 */
export function klToUniform(routing: Routing, mask?: tf.Tensor1D): tf.Scalar {
  return tf.tidy(() => {
    const mean = maskedMean(routing.probabilities, mask);
    return tf.sum(tf.mul(mean, tf.log(tf.mul(tf.add(mean, TINY), mean.size)))) as tf.Scalar;
  });
}

/**
 * Mean squared error of the mean routing probabilities from uniform, in units of the even share: `mean (E P_i - 1)^2`. 0
 * when the experts share evenly, `E - 1` when one takes all. It equals the squared coefficient of variation of the
 * importance (arXiv:1701.06538, eq. 6 and 7, where importance is the sum of the probabilities).
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns a scalar. Caller disposes.
 */
export function mseToUniform(routing: Routing, mask?: tf.Tensor1D): tf.Scalar {
  return tf.tidy(() => {
    const mean = maskedMean(routing.probabilities, mask);
    return tf.mean(tf.square(tf.sub(tf.mul(mean, mean.size), 1))) as tf.Scalar;
  });
}

/**
 * Switch Transformer's load-balancing loss (arXiv:2101.03961, eq. 4) over the whole batch: `E * sum f_i P_i`, with `f_i`
 * the share of choices that went to expert i (each token has k of them) and `P_i` its mean probability. Per layer, and 1
 * when both are uniform; Hugging Face's is k times it, since it does not divide by k.
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns a scalar. Caller disposes.
 */
export function switchLoss(routing: Routing, mask?: tf.Tensor1D): tf.Scalar {
  return tf.tidy(() => {
    const experts = routing.probabilities.shape[1];
    const load = expertLoad(routing, mask);
    return tf.mul(tf.sum(tf.mul(load, maskedMean(routing.probabilities, mask))), experts) as tf.Scalar;
  });
}

/**
 * The Switch loss of each sequence alone, then the mean over sequences: the complementary sequence-wise balance of
 * DeepSeek-V3 (arXiv:2412.19437, eq. 17 to 20; DeepSeek-V2, arXiv:2405.04434, eq. 23 to 25). It asks for balance within
 * a sequence, which is more than balance within a batch, so it wants a small weight. 1 when uniform; sequences without
 * a real token do not count.
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns a scalar. Caller disposes.
 * @throws when batch and seq are not the tokens of the routing.
 */
export function sequenceBalanceLoss(
  routing: Routing,
  { batch, seq }: NonNullable<RoutePass['sequences']>,
  mask?: tf.Tensor1D,
): tf.Scalar {
  const { tokens, experts } = dims('sequenceBalanceLoss: probabilities', routing.probabilities, ['tokens', 'experts']);
  if (batch * seq !== tokens) {
    throw new Error(`sequenceBalanceLoss: batch ${batch} * seq ${seq} must be the ${tokens} tokens of the routing.`);
  }
  return tf.tidy(() => {
    const real = mask ? tf.reshape(mask, [batch, seq, 1]) : tf.ones([batch, seq, 1]);
    const count = tf.sum(real, 1); // [batch, 1]
    const meanOf = (values: tf.Tensor) =>
      tf.div(tf.sum(tf.mul(tf.reshape(values, [batch, seq, experts]), real), 1), tf.maximum(count, 1));
    const perSequence = tf.sum(tf.mul(meanOf(choiceShares(routing)), meanOf(routing.probabilities)), 1);
    const counted = tf.sum(tf.minimum(count, 1)); // sequences with a real token
    return tf.mul(tf.div(tf.sum(perSequence), tf.maximum(counted, 1)), experts) as tf.Scalar;
  });
}

/**
 * Router z-loss (ST-MoE, arXiv:2202.08906, eq. 5): mean squared log-sum-exp of the gate logits, which keeps them small;
 * summed over a router's gates.
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns a scalar. Caller disposes.
 */
export function zLoss(routing: Pick<Routing, 'gates'>, mask?: tf.Tensor1D): tf.Scalar {
  return tf.tidy(() => {
    const squares = routing.gates.map((gate) => tf.square(tf.logSumExp(gate, 1, true)) as tf.Tensor2D);
    return tf.squeeze(maskedMean(tf.addN(squares), mask)) as tf.Scalar;
  });
}

/**
 * Share of all choices that went to each expert; sums to 1. Constant to the tape.
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns `[experts]`. Caller disposes.
 */
export function expertLoad(routing: Routing, mask?: tf.Tensor1D): tf.Tensor1D {
  return tf.tidy(() => maskedMean(choiceShares(routing), mask));
}

/** `[tokens, experts]`: 1 / k where the token visits the expert. */
function choiceShares({ indices, probabilities }: Routing): tf.Tensor2D {
  return tf.mean(oneHotFloat(indices, probabilities.shape[1]), 1);
}
