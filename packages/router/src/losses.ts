import * as tf from '@tensorflow/tfjs-core';
import type { Routing } from './routing.js';
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
 * Switch Transformer's load-balancing loss (arXiv:2101.03961, eq. 4): `E * sum f_i P_i`, with `f_i` the share of
 * choices that went to expert i (each token has k of them) and `P_i` its mean probability. Per layer, and 1 when both
 * are uniform.
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
 * Router z-loss (ST-MoE, arXiv:2202.08906, eq. 5): mean squared log-sum-exp of the gate logits, which keeps them small;
 * summed over a router's gates.
 *
 * @param mask `[tokens]`, 1 where the token is real. @returns a scalar. Caller disposes.
 */
export function zLoss(routing: Routing, mask?: tf.Tensor1D): tf.Scalar {
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
  return tf.tidy(() => {
    const chosen = tf.mean(oneHotFloat(routing.indices, routing.probabilities.shape[1]), 1) as tf.Tensor2D;
    return maskedMean(chosen, mask);
  });
}
