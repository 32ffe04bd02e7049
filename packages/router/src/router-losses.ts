import * as tf from '@tensorflow/tfjs-core';
import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { klToUniform, mseToUniform, sequenceBalanceLoss, switchLoss, zLoss } from './losses.js';
import type { RoutePass, Routing } from './routing.js';

/** Weights of the losses of a router. A loss without a weight is not computed. */
export interface RouterLossWeights {
  /** Of `klToUniform`; the therapeutic design uses 0.01. */
  readonly kl?: number;
  /** Of `switchLoss`, over the batch; Switch Transformer uses 0.01. */
  readonly switch?: number;
  /** Of `mseToUniform`. */
  readonly mse?: number;
  /** Of `sequenceBalanceLoss`; DeepSeek-V3 uses 0.0001. */
  readonly sequence?: number;
  /** Of `zLoss`; ST-MoE uses 0.001. */
  readonly z?: number;
}

/** Each loss that has a weight, not yet weighted, and their weighted sum. A type, so that `tf.tidy` can return it. */
export type RouterLosses = { -readonly [Name in keyof RouterLossWeights]?: tf.Scalar } & { total: tf.Scalar };

/** What losses need to know of a pass. */
type LossPass = Pick<RoutePass, 'mask' | 'sequences'>;

const losses: Record<keyof RouterLossWeights, (routing: Routing, pass: LossPass) => tf.Scalar> = {
  kl: (routing, { mask }) => klToUniform(routing, mask),
  switch: (routing, { mask }) => switchLoss(routing, mask),
  mse: (routing, { mask }) => mseToUniform(routing, mask),
  sequence: (routing, { mask, sequences }) => {
    if (sequences) return sequenceBalanceLoss(routing, sequences, mask);
    throw new Error('routerLosses: the sequence loss needs pass.sequences { batch, seq }, got none.');
  },
  z: (routing, { mask }) => zLoss(routing, mask),
};

/**
 * The losses of one layer's routing.
 *
 * @returns a scalar for each weight, and `total`, their weighted sum. Caller disposes.
 * @throws when a weight is unknown or not a number of 0 or more, or the sequence loss is asked for without sequences.
 */
export function routerLosses(routing: Routing, weights: RouterLossWeights, pass: LossPass = {}): RouterLosses {
  refuseUnknownKeys('routerLosses', weights, Object.keys(losses));
  const weighted = Object.entries(weights).filter(([, weight]) => weight !== undefined) as [
    keyof RouterLossWeights,
    number,
  ][];
  for (const [name, weight] of weighted) {
    if (!(Number.isFinite(weight) && weight >= 0)) {
      throw new Error(`routerLosses: the weight ${name} must be a number of 0 or more, got ${String(weight)}.`);
    }
  }
  return tf.tidy(() => {
    const each = weighted.map(([name]) => [name, losses[name](routing, pass)] as const);
    const terms = each.map(([, loss], i) => tf.mul(loss, weighted[i]![1]));
    const total = (terms.length > 0 ? tf.addN(terms) : tf.scalar(0)) as tf.Scalar;
    return { ...Object.fromEntries(each), total };
  });
}

/**
 * One loss over several layers.
 *
 * @param loss of one layer; what it returns is disposed. @returns the sum, a scalar; 0 without layers. Caller disposes.
 */
export function sumOverLayers(routings: readonly Routing[], loss: (routing: Routing) => tf.Scalar): tf.Scalar {
  return tf.tidy(
    () => (routings.length > 0 ? tf.addN(routings.map((routing) => loss(routing))) : tf.scalar(0)) as tf.Scalar,
  );
}
