import * as tf from '@tensorflow/tfjs-core';
import { takeChosen } from './top-k.js';

/** How the scores of chosen experts become weights. */
export interface Weighing {
  /** Divide by their sum, so that they add up to 1. */
  readonly normTopkProb: boolean;
  /** Factor on every weight, after that. Absent: 1. */
  readonly routedScalingFactor?: number;
}

/**
 * The weight of each chosen expert. Renormalised weights are a softmax over the chosen logits, which equals dividing
 * their probabilities by the sum but stays finite where all of them are too small for float32.
 *
 * @param logits `[tokens, experts]`. @param scores `[tokens, experts]`, proportional to exp(logits): the weights when not
 *   renormalised. @param indices int32 `[tokens, k]`. @param mask `[tokens]`; weights of padded tokens are 0.
 * @returns `[tokens, k]`. Caller disposes.
 */
export function chosenWeights(
  {
    logits,
    scores,
    indices,
    mask,
  }: { logits: tf.Tensor2D; scores: tf.Tensor2D; indices: tf.Tensor2D; mask?: tf.Tensor1D },
  { normTopkProb, routedScalingFactor = 1 }: Weighing,
): tf.Tensor2D {
  return tf.tidy(() => {
    const plain = normTopkProb ? tf.softmax(takeChosen(logits, indices)) : takeChosen(scores, indices);
    const scaled = routedScalingFactor === 1 ? plain : tf.mul(plain, routedScalingFactor);
    return (mask ? tf.mul(scaled, tf.expandDims(mask, 1)) : scaled) as tf.Tensor2D;
  });
}
