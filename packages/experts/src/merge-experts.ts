import * as tf from '@tensorflow/tfjs-core';
import {
  checkPool,
  type ExpertPool,
  type PoolChange,
  rebuildPool,
  refuseStranger,
  sharesOf,
  takeExperts,
} from './expert-pool.js';

/** A pool in which two experts have become one. */
export interface Merged extends PoolChange {
  /** The number of the merged expert in the new pool. */
  readonly merged: number;
  /** The parts of `a` and `b` in it; they sum to 1. */
  readonly weights: readonly [number, number];
}

/**
 * Merges two experts into their average, weighted by how often each was chosen (M-SMoE, arXiv:2310.01334; without its
 * alignment of neurons, so it is meant for experts of one origin, such as upcycled ones). The gate column is the same
 * average with the entropy of the weights on its bias: the tangent of `log(exp a + exp b)`, so the merged expert is as
 * likely in a softmax as the two were together wherever they stood in that proportion, and never likelier.
 *
 * @param load how often each expert was chosen, as counts or shares; two that nobody chose count alike.
 * @throws when `a` and `b` are not two experts of the pool, or fewer would remain than a token visits.
 */
export function mergeExperts(pool: ExpertPool, a: number, b: number, load: readonly number[]): Merged {
  checkPool('mergeExperts', pool);
  const { experts } = pool.experts;
  for (const named of [a, b]) refuseStranger('mergeExperts', named, experts);
  if (a === b) throw new Error(`mergeExperts: a and b are both ${a}; name two experts.`);
  const shares = sharesOf('mergeExperts', load, experts);
  const weights = mergeWeights(shares[a]!, shares[b]!);
  const [merged, gone] = [Math.min(a, b), Math.max(a, b)];
  const kept = shares.flatMap((_, expert) => (expert === gone ? [] : [expert]));
  const merge = (stacked: tf.Tensor) =>
    tf.tidy(() => {
      const one = (expert: number) => takeExperts(stacked, [expert]);
      const average = tf.add(tf.mul(one(a), weights[0]), tf.mul(one(b), weights[1]));
      return tf.concat(
        kept.map((expert) => (expert === merged ? average : one(expert))),
        0,
      );
    });
  const change = rebuildPool('mergeExperts', pool, {
    ofExperts: merge,
    ofGate: merge,
    origins: kept.map((expert) => (expert === merged ? [a, b] : [expert])),
    lift: kept.map((expert) => (expert === merged ? entropy(weights) : 0)),
  });
  return { ...change, merged, weights };
}

function mergeWeights(loadOfA: number, loadOfB: number): [number, number] {
  const total = loadOfA + loadOfB;
  return total === 0 ? [0.5, 0.5] : [loadOfA / total, loadOfB / total];
}

/** In nats. */
function entropy(weights: readonly number[]): number {
  return -weights.reduce((sum, weight) => sum + (weight > 0 ? weight * Math.log(weight) : 0), 0);
}
