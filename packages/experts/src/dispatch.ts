import * as tf from '@tensorflow/tfjs-core';
import { combineRows, dispatchRows } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import { oneHotFloat, type Routing } from '@therapeutic-moe/router';
import { sortByExpert } from './sort-plan.js';
import type { SwiGluExperts } from './swi-glu-experts.js';

/**
 * `sorted`: dropless; tokens are sorted by expert and only the chosen experts compute (MegaBlocks, arXiv:2211.15841).
 * Reads the choices on the host once. `dense`: every expert computes every token and a mask weighs them: the reference,
 * and the form for backends that cannot read synchronously.
 */
export type Dispatch = 'sorted' | 'dense';

/** The sparse form wherever the backend can read the choices at once; WebGPU cannot. */
export function defaultDispatch(): Dispatch {
  return tf.getBackend() === 'webgpu' ? 'dense' : 'sorted';
}

/**
 * The Mixture-of-Experts layer: `y[t] = sum_j weights[t, j] * expert[indices[t, j]](hidden[t])`.
 *
 * @param hidden `[tokens, hidden]`.
 * @returns `[tokens, hidden]`. Caller disposes.
 * @throws when routing and hidden states differ in tokens, or the router knows another number of experts; with `sorted`
 *   also when a routing weight is not finite (`dense` cannot look and gives NaN).
 */
export function applyExperts(
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: SwiGluExperts,
  dispatch: Dispatch = defaultDispatch(),
): tf.Tensor2D {
  const { tokens } = dims('applyExperts: hidden', hidden, ['tokens', 'hidden'], { hidden: experts.hidden });
  dims('applyExperts: routing.probabilities', routing.probabilities, ['tokens', 'experts'], {
    tokens,
    experts: experts.experts,
  });
  dims('applyExperts: routing.indices', routing.indices, ['tokens', 'k'], { tokens });
  return dispatch === 'sorted' ? applySorted(hidden, routing, experts) : applyDense(hidden, routing, experts);
}

function applySorted(hidden: tf.Tensor2D, routing: Routing, experts: SwiGluExperts): tf.Tensor2D {
  return tf.tidy(() => {
    const k = routing.indices.shape[1];
    refuseNotFinite(routing.weights.dataSync(), k);
    const plan = sortByExpert(routing.indices.dataSync(), k, experts.experts);
    const outputs = experts.applyGrouped(dispatchRows(hidden, plan), plan.offsets); // [tokens * k, hidden]
    return combineRows(outputs, routing.weights, plan);
  });
}

/** A NaN in a gate is still sorted somewhere by top-k, so only the weights show it. */
function refuseNotFinite(weights: ArrayLike<number>, k: number): void {
  for (let i = 0; i < weights.length; i++) {
    if (!Number.isFinite(weights[i]!)) {
      throw new Error(
        `applyExperts: a routing weight of token ${Math.floor(i / k)} is ${weights[i]}; its hidden state or the gate is not finite.`,
      );
    }
  }
}

function applyDense(hidden: tf.Tensor2D, routing: Routing, experts: SwiGluExperts): tf.Tensor2D {
  return tf.tidy(() => {
    const hot = oneHotFloat(routing.indices, experts.experts); // [tokens, k, experts]
    const shares = tf.sum(tf.mul(hot, tf.expandDims(routing.weights, -1)), 1); // [tokens, experts]
    const parts = Array.from({ length: experts.experts }, (_, e) =>
      tf.mul(experts.applyExpert(hidden, e), tf.slice(shares, [0, e], [-1, 1])),
    );
    return parts.reduce((sum, part) => tf.add(sum, part)) as tf.Tensor2D;
  });
}
