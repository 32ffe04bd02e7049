import * as tf from '@tensorflow/tfjs-core';
import { combineRows, dispatchRows, type GroupedRowPlan } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import { type CapacityLimits, capacityPlan, oneHotFloat, type Routing } from '@therapeutic-moe/router';
import type { ExpertPass, Experts } from './experts.js';
import { readsAtOnce } from './reads-at-once.js';
import { sortByExpert } from './sort-plan.js';
import { sortByExpertOnDevice } from './sort-plan-on-device.js';

/**
 * `sorted`: tokens are sorted by expert and only the chosen experts compute (MegaBlocks, arXiv:2211.15841). The sort
 * runs on the host, which reads the choices once, or on the device where the backend cannot read at once (WebGPU).
 * `dense`: every expert computes every token and a mask weighs them: the reference.
 */
export type Dispatch = 'sorted' | 'dense';

/**
 * The sparse form; only experts that keep keys and values need the dense one, and only where the backend cannot read at
 * once how many rows each of them has.
 */
export function defaultDispatch(pass?: ExpertPass): Dispatch {
  return pass?.cache && !readsAtOnce() ? 'dense' : 'sorted';
}

/** How a layer of experts is applied. */
export interface ApplyOptions {
  readonly dispatch?: Dispatch;
  /** `[tokens]`, 0 where the token is padding: it visits nobody and its output is 0. Absent: all are real. */
  readonly mask?: tf.Tensor1D;
  readonly pass?: ExpertPass;
}

/** How a layer of experts with limited places is applied. */
export interface CapacityOptions extends Omit<CapacityLimits, 'experts'> {
  readonly pass?: ExpertPass;
}

/** A type, not an interface, so that `tf.tidy` can return it. */
export type CapacityOutput = {
  /** `[tokens, hidden]`, 0 for a token whose choices were all dropped. */
  readonly output: tf.Tensor2D;
  /** `[experts]` how many choices found no place. */
  readonly overflow: tf.Tensor1D;
};

/**
 * The Mixture-of-Experts layer: `y[t] = sum_j weights[t, j] * expert[indices[t, j]](hidden[t])`.
 *
 * Drops nothing.
 *
 * @param hidden `[tokens, hidden]`.
 * @returns `[tokens, hidden]`. Caller disposes.
 * @throws when routing and hidden states differ in tokens, or the router knows another number of experts; with `sorted`
 *   also when a routing weight is not finite, where the backend can read at once (else it gives NaN, as `dense` does).
 */
export function applyExperts(
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: Experts,
  { mask, pass, dispatch = defaultDispatch(pass) }: ApplyOptions = {},
): tf.Tensor2D {
  checkRouting('applyExperts', hidden, routing, experts, mask, pass);
  if (dispatch !== 'sorted' && dispatch !== 'dense') {
    throw new Error(
      `applyExperts: dispatch must be 'sorted' or 'dense', got '${String(dispatch)}'; applyWithCapacity limits places.`,
    );
  }
  return dispatch === 'sorted'
    ? applySorted(hidden, routing, experts, mask, pass)
    : applyDense(hidden, routing, experts, mask, pass);
}

/**
 * The same layer where every expert takes at most `capacity` tokens, on the device from end to end (GShard,
 * arXiv:2006.16668). A dropped choice adds nothing; the weights of a token's other choices stay as they are. A
 * weight that is not finite is not seen and gives NaN.
 *
 * @param hidden `[tokens, hidden]`.
 * @returns the output and what was dropped. Caller disposes.
 * @throws when routing and hidden states do not fit, or the capacity is no whole number.
 */
export function applyWithCapacity(
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: Experts,
  { pass, ...limits }: CapacityOptions,
): CapacityOutput {
  checkRouting('applyWithCapacity', hidden, routing, experts, limits.mask, pass);
  return tf.tidy(() => {
    const plan = capacityPlan(routing.indices, routing.weights, { ...limits, experts: experts.experts });
    return { output: applyPlanned(hidden, routing.weights, experts, plan, pass), overflow: plan.overflow };
  });
}

/**
 * Runs rows through their experts and adds them up, for a plan from anywhere.
 *
 * @param hidden `[tokens, hidden]`. @param weights `[tokens, k]`. @returns `[tokens, hidden]`. Caller disposes.
 * @throws when the plan is of other tokens.
 */
export function applyPlanned(
  hidden: tf.Tensor2D,
  weights: tf.Tensor2D,
  experts: Experts,
  plan: GroupedRowPlan,
  pass?: ExpertPass,
): tf.Tensor2D {
  const { tokens } = dims('applyPlanned: hidden', hidden, ['tokens', 'hidden'], { hidden: experts.hidden });
  const { k } = dims('applyPlanned: weights', weights, ['tokens', 'k'], { tokens });
  dims('applyPlanned: plan.rowOfChoice', plan.rowOfChoice, ['tokens', 'k'], { tokens, k });
  return tf.tidy(() => {
    const groups = { ...plan, tokens };
    return combineRows(experts.applyGrouped(dispatchRows(hidden, plan), groups, pass), weights, plan);
  });
}

function checkRouting(
  where: string,
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: Experts,
  mask?: tf.Tensor1D,
  pass?: ExpertPass,
): void {
  const { tokens } = dims(`${where}: hidden`, hidden, ['tokens', 'hidden'], { hidden: experts.hidden });
  dims(`${where}: routing.probabilities`, routing.probabilities, ['tokens', 'experts'], {
    tokens,
    experts: experts.experts,
  });
  const { k } = dims(`${where}: routing.indices`, routing.indices, ['tokens', 'k'], { tokens });
  dims(`${where}: routing.weights`, routing.weights, ['tokens', 'k'], { tokens, k });
  if (mask) dims(`${where}: mask`, mask, ['tokens'], { tokens });
  const sequences = pass?.sequences;
  if (sequences && sequences.batch * sequences.seq !== tokens) {
    throw new Error(
      `${where}: pass.sequences says ${sequences.batch} sequences of ${sequences.seq}, but there are ${tokens} tokens.`,
    );
  }
}

function applySorted(
  hidden: tf.Tensor2D,
  routing: Routing,
  experts: Experts,
  mask?: tf.Tensor1D,
  pass?: ExpertPass,
): tf.Tensor2D {
  return tf.tidy(() => {
    const plan = readsAtOnce()
      ? sortOnHost(routing, experts.experts, mask)
      : sortByExpertOnDevice(routing.indices, experts.experts, mask);
    return applyPlanned(hidden, routing.weights, experts, plan, pass);
  });
}

function sortOnHost({ indices, weights }: Routing, experts: number, mask?: tf.Tensor1D): GroupedRowPlan {
  const k = indices.shape[1];
  const real = mask?.dataSync();
  refuseNotFinite(weights.dataSync(), k, real);
  return sortByExpert(indices.dataSync(), k, experts, real);
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
