import * as tf from '@tensorflow/tfjs-core';
import type { RowPlan } from '@therapeutic-moe/kernels';
import { oneHotFloat } from './top-k.js';

/** Counts are float32, which holds every whole number up to here. */
const EXACT = 2 ** 24;

/**
 * Gives every kept choice the next free row of its expert, on the device: its place is the number of earlier choices of
 * that expert, an exclusive cumulative sum. Constant to the tape; nothing is read back.
 *
 * @param kept `[choices, experts]`, 1 where the choice is of this expert and has a row; a row of zeros is a dropped
 *   choice.
 * @param starts `[experts]` float32, the first row of each expert.
 * @param rows how many rows there are; those that no choice takes are empty.
 * @returns the three index tensors of a `RowPlan`. Caller disposes.
 * @throws when there are more rows or choices than float32 can count.
 */
export function planRows(
  kept: tf.Tensor2D,
  starts: tf.Tensor1D,
  rows: number,
  k: number,
): Pick<RowPlan, 'tokenOfRow' | 'choiceOfRow' | 'rowOfChoice'> {
  const choices = kept.shape[0];
  if (Math.max(choices, rows) >= EXACT) {
    throw new Error(
      `planRows: ${choices} choices in ${rows} rows are more than float32 counts exactly (${EXACT}); split the batch.`,
    );
  }
  return tf.tidy(() => {
    const taken = tf.sum(tf.mul(kept, tf.add(tf.cumsum(kept, 0, true), starts)), 1);
    const dropped = tf.mul(tf.sub(1, tf.sum(kept, 1)), rows); // a dropped choice names the row after the last
    const rowOfChoice = tf.cast(tf.add(taken, dropped), 'int32');
    const choiceOfRow = scatterChoices(rowOfChoice as tf.Tensor1D, rows);
    const tokenOfChoice = Int32Array.from({ length: choices + 1 }, (_, choice) => Math.floor(choice / k));
    return {
      tokenOfRow: tf.gather(tf.tensor1d(tokenOfChoice, 'int32'), choiceOfRow),
      choiceOfRow,
      rowOfChoice: tf.reshape(rowOfChoice, [choices / k, k]),
    };
  });
}

/** `[rows]` the choice that took each row, or `choices`. What is dropped falls on one row more, which is cut off. */
function scatterChoices(rowOfChoice: tf.Tensor1D, rows: number): tf.Tensor1D {
  const choices = rowOfChoice.size;
  const fromLast = tf.tensor1d(Float32Array.from({ length: choices }, (_, choice) => choice - choices));
  const scattered = tf.scatterND(tf.expandDims(rowOfChoice, 1), fromLast, [rows + 1]);
  return tf.cast(tf.add(tf.slice(scattered, [0], [rows]), choices), 'int32') as tf.Tensor1D;
}

/**
 * How often each choice goes to each expert: 1 or 0, and 0 everywhere for a padded token. Constant to the tape.
 *
 * @param indices int32 `[tokens, k]`. @param mask `[tokens]`, 0 where the token is padding; absent: all are real.
 * @returns `[choices, experts]` float32, choices in order of token, then place. Caller disposes.
 */
export function visitsOf(indices: tf.Tensor2D, experts: number, mask?: tf.Tensor1D): tf.Tensor2D {
  return tf.tidy(() => {
    const [tokens, k] = indices.shape;
    const hot = oneHotFloat(constant(indices), experts);
    const real = mask ? tf.mul(hot, tf.reshape(constant(mask), [-1, 1, 1])) : hot;
    return tf.reshape(real, [tokens * k, experts]);
  });
}

/** A copy that the tape knows no origin of, so that it looks for no gradient along it. Caller disposes. */
export function constant<T extends tf.Tensor>(x: T): T {
  return tf.customGrad(() => ({ value: tf.clone(x), gradFunc: () => [] }))() as T;
}
