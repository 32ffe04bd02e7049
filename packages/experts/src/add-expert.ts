import * as tf from '@tensorflow/tfjs-core';
import {
  checkPool,
  type ExpertPool,
  type PoolChange,
  rebuildPool,
  refuseStranger,
  takeExperts,
} from './expert-pool.js';
import { type Noise, noiseAdder } from './noise.js';

/**
 * How far a closed expert's gate lies below its origin's. Softmax and sigmoid of such a logit are 0 in float32 whatever
 * the hidden state, and weight decay takes long to wear it down.
 */
const CLOSED = 1e4;

/** Which expert is copied. */
export interface AddOptions {
  /** The expert that the new one starts from. */
  readonly from: number;
  /** Added to the copy's weights. Absent: an exact copy. */
  readonly noise?: Noise;
}

/**
 * Adds an expert to a trained pool without changing its function: the new expert, the last, is a copy of `from` with a
 * copy of its gate column and a bias so low that its probability is exactly 0 (growth that preserves the function, as in
 * Net2Net, arXiv:1511.05641). With softmax after top-k no bit of the output changes; before it, one more term of 0 may
 * be summed in another order, which can move the last bit. No gradient reaches the new expert until `openExpert` admits
 * it.
 *
 * @throws when `from` names no expert, or router and experts do not fit together.
 */
export function addExpert(pool: ExpertPool, { from, noise }: AddOptions): PoolChange {
  checkPool('addExpert', pool);
  const { experts } = pool.experts;
  refuseStranger('addExpert', from, experts);
  const append = (stacked: tf.Tensor, change: (copy: tf.Tensor) => tf.Tensor = tf.clone) =>
    tf.tidy(() => tf.concat([stacked, change(takeExperts(stacked, [from]))], 0));
  const perturb = noise && noiseAdder(noise);
  const close = [...new Array<number>(experts).fill(0), -CLOSED];
  return rebuildPool('addExpert', pool, {
    ofExperts: (stacked) => append(stacked, perturb),
    ofGate: (columns) => append(columns),
    origins: [...Array.from({ length: experts }, (_, expert) => [expert]), [from]],
    lift: close,
    liftKept: close, // else a balancing bias could choose an expert of probability 0 in place of another
  });
}

/** Which expert is let in, and how far. */
export interface OpenOptions {
  /** The expert that was added. */
  readonly expert: number;
  /** The expert that gives up a part of its probability. */
  readonly from: number;
  /** The part of it that the new expert gets, between 0 and 1. Half is an even split. */
  readonly share: number;
  /** Added to the new gate column, so that the two are not always chosen in the same order. */
  readonly noise?: Noise;
}

/**
 * Lets training admit an added expert: it takes the gate column of `from` afresh, and the two biases split that
 * expert's probability as `share` says. Without noise the two together are as likely as `from` was and no other
 * probability of the softmax changes, but the choice of k does: a token of `from` may now visit both.
 *
 * @returns a pool with as many experts; train that one.
 * @throws when an expert is not there, both are the same, or the share is not between 0 and 1.
 */
export function openExpert(pool: ExpertPool, { expert, from, share, noise }: OpenOptions): PoolChange {
  checkPool('openExpert', pool);
  const { experts } = pool.experts;
  for (const named of [expert, from]) refuseStranger('openExpert', named, experts);
  if (expert === from) throw new Error(`openExpert: expert and from are both ${expert}; name two experts.`);
  if (!(share > 0 && share < 1)) throw new Error(`openExpert: share must lie between 0 and 1, got ${share}.`);
  const perturb = noise ? noiseAdder(noise) : tf.clone;
  const all = Array.from({ length: experts }, (_, e) => e);
  return rebuildPool('openExpert', pool, {
    ofExperts: tf.clone,
    ofGate: (columns) =>
      tf.tidy(() => {
        const column = (e: number) => takeExperts(columns, [e]);
        return tf.concat(
          all.map((e) => (e === expert ? perturb(column(from)) : column(e))),
          0,
        );
      }),
    origins: all.map((e) => [e]),
    lift: all.map((e) => (e === expert ? Math.log(share) : e === from ? Math.log1p(-share) : 0)),
  });
}
