import * as tf from '@tensorflow/tfjs-core';
import type { GroupedRowPlan } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import { closeOthers, constantChoice, topKIndices } from './top-k.js';

/**
 * Which tokens each expert took. All tensors, those of the plan too, belong to whoever asked for the choice. A type, not
 * an interface, so that `tf.tidy` can return it.
 */
export type ExpertChoice = {
  /** The tokens of each expert, best first, int32 `[experts, capacity]`. */
  readonly tokens: tf.Tensor2D;
  /**
   * `[tokens, experts]`, the probability where the expert took the token and 0 elsewhere. The layer's output is `y[t] =
   * sum_e weights[t, e] * expert_e(hidden[t])`.
   */
  readonly weights: tf.Tensor2D;
  /** The same as rows for `dispatchRows` and `combineRows`, expert by expert; a token has one choice per expert. */
  readonly plan: ExpertChoicePlan;
};

/** A `GroupedRowPlan` with its offsets on the host. A type, not an interface, so that `tf.tidy` can return it. */
type ExpertChoicePlan = { readonly [Field in Exclude<keyof GroupedRowPlan, 'offsets'>]: GroupedRowPlan[Field] } & {
  readonly offsets: number[];
};

/** Above it float32 skips whole numbers, and row numbers are computed in it. */
const LARGEST_EXACT = 2 ** 24;

/**
 * Expert choice (arXiv:2202.09368, section 3): every expert takes the `capacity` tokens with the largest probability for
 * it, so all experts work equally and a token visits as many as want it, perhaps none. Which tokens win depends on the
 * whole batch: never use it in a causal decoder.
 *
 * @param probabilities `[tokens, experts]`, softmax over experts. @param mask `[tokens]`; padded tokens are never taken.
 * @returns Caller disposes. @throws when capacity or mask do not fit.
 */
export function expertChoice(probabilities: tf.Tensor2D, capacity: number, mask?: tf.Tensor1D): ExpertChoice {
  const { tokens, experts } = dims('expertChoice: probabilities', probabilities, ['tokens', 'experts']);
  if (mask) dims('expertChoice: mask', mask, ['tokens'], { tokens });
  checkCapacity(capacity, tokens, experts);
  return tf.tidy(() => {
    const scores = tf.transpose(probabilities) as tf.Tensor2D;
    const order = topKIndices(mask ? closeOthers(scores, tf.expandDims(mask, 0)) : scores, tokens); // [experts, tokens]
    const place = tf.transpose(toFloat(topKIndices(tf.neg(toFloat(order)), tokens))) as tf.Tensor2D; // the inverse
    const taken = constantChoice(place, (x) => {
      const within = toFloat(tf.less(x, capacity));
      return (mask ? tf.mul(within, tf.expandDims(mask, 1)) : within) as tf.Tensor2D;
    });
    const chosen = tf.slice2d(order, [0, 0], [experts, capacity]);
    return { tokens: chosen, weights: tf.mul(probabilities, taken), plan: planOf(chosen, place, taken, mask) };
  });
}

/** @param place `[tokens, experts]`, where a token stands in an expert's order. @param taken 1 or 0. */
function planOf(chosen: tf.Tensor2D, place: tf.Tensor2D, taken: tf.Tensor2D, mask?: tf.Tensor1D): ExpertChoicePlan {
  const [tokens, experts] = place.shape;
  const capacity = chosen.shape[1];
  const rows = experts * capacity;
  const offsets = Array.from({ length: experts + 1 }, (_, e) => e * capacity);
  const expertOfRow = tf.reshape(tf.tile(tf.expandDims(tf.range(0, experts), 1), [1, capacity]), [rows]);
  const token = tf.reshape(toFloat(chosen), [rows]);
  const real = mask && tf.gather(mask, tf.reshape(chosen, [rows]) as tf.Tensor1D);
  const row = tf.add(place, tf.expandDims(tf.tensor1d(offsets.slice(0, -1)), 0));
  return {
    tokenOfRow: wholeWhere(real, token, tokens) as tf.Tensor1D,
    choiceOfRow: wholeWhere(real, tf.add(tf.mul(token, experts), expertOfRow), tokens * experts) as tf.Tensor1D,
    rowOfChoice: wholeWhere(taken, row, rows) as tf.Tensor2D,
    complete: false,
    offsets,
    groupOfRow: tf.cast(expertOfRow, 'int32') as tf.Tensor1D,
  };
}

/** On WebGPU a cast keeps the int32 buffer, which a transpose cannot read; the product with 1 converts it. */
function toFloat<T extends tf.Tensor>(x: T): T {
  return tf.mul(tf.cast(x, 'float32'), 1);
}

/** The numbers as int32 where `open` is 1 (everywhere when absent), and `otherwise` where it is 0. */
function wholeWhere(open: tf.Tensor | undefined, numbers: tf.Tensor, otherwise: number): tf.Tensor {
  const kept = open ? tf.add(tf.mul(numbers, open), tf.mul(tf.sub(1, open), otherwise)) : numbers;
  return tf.cast(kept, 'int32');
}

function checkCapacity(capacity: number, tokens: number, experts: number): void {
  if (!Number.isInteger(capacity) || capacity < 1 || capacity > tokens) {
    throw new Error(
      `expertChoice: capacity must be a whole number from 1 to the ${tokens} tokens there are, got ${capacity}.`,
    );
  }
  if (tokens * experts > LARGEST_EXACT) {
    throw new Error(
      `expertChoice: ${tokens} tokens * ${experts} experts exceed ${LARGEST_EXACT}, up to which float32 counts rows exactly; route fewer tokens at once.`,
    );
  }
}
