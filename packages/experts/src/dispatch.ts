import * as tf from '@tensorflow/tfjs-core';
import { combineRows, dispatchRows, type GroupedRowPlan } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import { oneHotFloat, type Routing } from '@therapeutic-moe/router';
import type { ExpertPass, Experts } from './experts.js';
import { sortByExpert } from './sort-plan.js';

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

/** How a layer of experts is applied. */
export interface ApplyOptions {
  readonly dispatch?: Dispatch;
  /** `[tokens]`, 0 where the token is padding: it visits nobody and its output is 0. Absent: all are real. */
  readonly mask?: tf.Tensor1D;
  readonly pass?: ExpertPass;
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
  experts: Experts,
  { dispatch = defaultDispatch(), mask, pass }: ApplyOptions = {},
): tf.Tensor2D {
  const { tokens } = dims('applyExperts: hidden', hidden, ['tokens', 'hidden'], { hidden: experts.hidden });
  dims('applyExperts: routing.probabilities', routing.probabilities, ['tokens', 'experts'], {
    tokens,
    experts: experts.experts,
  });
  dims('applyExperts: routing.indices', routing.indices, ['tokens', 'k'], { tokens });
  if (mask) dims('applyExperts: mask', mask, ['tokens'], { tokens });
  return dispatch === 'sorted'
    ? applySorted(hidden, routing, experts, mask, pass)
    : applyDense(hidden, routing, experts, mask, pass);
}

/**
 * Runs rows through their experts and adds them up, for a plan from anywhere.
 *
 * @param hidden `[tokens, hidden]`. @param weights `[tokens, k]`. @returns `[tokens, hidden]`. Caller disposes.
 */
export function applyPlanned(
  hidden: tf.Tensor2D,
  weights: tf.Tensor2D,
  experts: Experts,
  plan: GroupedRowPlan,
  pass?: ExpertPass,
): tf.Tensor2D {
  return tf.tidy(() => combineRows(experts.applyGrouped(dispatchRows(hidden, plan), plan, pass), weights, plan));
}

function applySorted(
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: Experts,
  mask?: tf.Tensor1D,
  pass?: ExpertPass,
): tf.Tensor2D {
  return tf.tidy(() => {
    const k = routing.indices.shape[1];
    const real = mask?.dataSync();
    refuseNotFinite(routing.weights.dataSync(), k, real);
    const plan = sortByExpert(routing.indices.dataSync(), k, experts.experts, real);
    return applyPlanned(hidden, routing.weights, experts, plan, pass);
  });
}

/** A NaN in a gate is still sorted somewhere by top-k, so only the weights show it. */
function refuseNotFinite(weights: ArrayLike<number>, k: number, mask?: ArrayLike<number>): void {
  for (let i = 0; i < weights.length; i++) {
    const token = Math.floor(i / k);
    if (!Number.isFinite(weights[i]!) && mask?.[token] !== 0) {
      throw new Error(
        `applyExperts: a routing weight of token ${token} is ${weights[i]}; its hidden state or the gate is not finite.`,
      );
    }
  }
}

function applyDense(
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: Experts,
  mask?: tf.Tensor1D,
  pass?: ExpertPass,
): tf.Tensor2D {
  return tf.tidy(() => {
    const all = oneHotFloat(routing.indices, experts.experts); // [tokens, k, experts]
    const hot = mask ? tf.mul(all, tf.reshape(mask, [-1, 1, 1])) : all;
    const shares = tf.sum(tf.mul(hot, tf.expandDims(routing.weights, -1)), 1); // [tokens, experts]
    const visits = tf.sum(hot, 1); // [tokens, experts]
    const column = (t: tf.Tensor, e: number) => tf.slice(t, [0, e], [-1, 1]);
    const parts = Array.from({ length: experts.experts }, (_, e) => {
      const visited = tf.reshape(column(visits, e), [-1]) as tf.Tensor1D;
      return tf.mul(experts.applyExpert(hidden, e, visited, pass), column(shares, e));
    });
    return tf.addN(parts) as tf.Tensor2D;
  });
}
