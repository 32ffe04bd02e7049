import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import { seedFor } from '@therapeutic-moe/nn';

/** Which inner neurons of a dense feed-forward an expert takes, and what its output is multiplied by. */
export interface ExpertNeurons {
  /** Ascending. */
  readonly neurons: readonly number[];
  readonly scale: number;
}

/**
 * Deals the neurons of a dense feed-forward to experts at random: no neuron twice before all are dealt once (the
 * independent random split of LLaMA-MoE, arXiv:2406.16554, where experts and neurons work out evenly).
 */
export function dealNeurons(
  inner: number,
  { experts, size, seed }: { experts: number; size: number; seed: number },
): number[][] {
  const order = shuffled(inner, seed);
  return Array.from({ length: experts }, (_, expert) =>
    Array.from({ length: size }, (_, i) => order[(expert * size + i) % inner]!).sort((a, b) => a - b),
  );
}

function shuffled(count: number, seed: number): number[] {
  const keys = Array.from({ length: count }, (_, i) => seedFor(seed, `neurons.${i}`));
  return keys.map((_, i) => i).sort((a, b) => keys[a]! - keys[b]! || a - b);
}

/** The `size` neurons of most energy in each row, ascending. @param energy `[experts, inner]` row by row. */
export function busiestNeurons(energy: Float32Array, inner: number, size: number): number[][] {
  return Array.from({ length: energy.length / inner }, (_, expert) => {
    const own = energy.subarray(expert * inner, (expert + 1) * inner);
    const order = Array.from(own, (_, neuron) => neuron).sort((a, b) => own[b]! - own[a]! || a - b);
    return order.slice(0, size).sort((a, b) => a - b);
  });
}

/**
 * What each neuron adds to the output for each domain: the mean square of its activation times the squared length of
 * its row of `down`.
 *
 * @param activations `[tokens, inner]` @param shares `[experts, tokens]` @param down `[inner, hidden]`
 * @returns `[experts, inner]`. Caller disposes.
 */
export function neuronEnergy(activations: tf.Tensor2D, shares: tf.Tensor2D, down: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => tf.mul(matMul(shares, tf.square(activations)), tf.sum(tf.square(down), 1)) as tf.Tensor2D);
}
