import * as tf from '@tensorflow/tfjs-core';
import { closeOthers, topKMask } from './top-k.js';

/** Restricts a token's choice to its best groups of experts, so that it travels to few devices. */
export interface GroupLimit {
  /** Number of groups; experts of one group are neighbours. A divisor of `numExperts`. */
  readonly numGroups: number;
  /** How many groups a token may choose from. */
  readonly topGroups: number;
  /** What makes a group good: its best expert (DeepSeek-V2) or the sum of its two best (DeepSeek-V3). */
  readonly score: 'max' | 'sum-of-top-2';
}

/**
 * Lowers the scores of experts outside of the token's best groups so far that top-k cannot choose them (group-limited
 * top-k: DeepSeek-V2, arXiv:2405.04434, section 2.2.2; DeepSeek-V3, arXiv:2412.19437, section 2.1.2). For choosing only:
 * it has no gradient.
 *
 * @param scores `[tokens, experts]`. @returns `[tokens, experts]`. Caller disposes.
 */
export function limitToGroups(scores: tf.Tensor2D, { numGroups, topGroups, score }: GroupLimit): tf.Tensor2D {
  return tf.tidy(() => {
    const [tokens, experts] = scores.shape;
    const rows = tf.reshape(scores, [tokens * numGroups, experts / numGroups]);
    const best = score === 'max' ? tf.max(rows, 1) : tf.sum(tf.topk(rows, 2).values, 1);
    const open = tf.reshape(topKMask(tf.reshape(best, [tokens, numGroups]), topGroups), [-1, 1]);
    return tf.reshape(closeOthers(rows, open), [tokens, experts]) as tf.Tensor2D;
  });
}
