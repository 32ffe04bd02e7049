import * as tf from '@tensorflow/tfjs-core';
import type { GroupedRowPlan } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import { constant, planRows, visitsOf } from '@therapeutic-moe/router';

/** A plan that drops nothing, made on the device: one row per choice; the rows of padded tokens are empty and last. */
export interface DeviceSortPlan extends GroupedRowPlan {
  /** int32 `[experts + 1]`. */
  readonly offsets: tf.Tensor1D;
}

/**
 * The plan of `sortByExpert` without reading anything back: the row of a choice is the first row of its expert and the
 * number of earlier choices of that expert, both cumulative sums. Constant to the tape.
 *
 * An index outside of the experts cannot be seen here: the choice is dropped.
 *
 * @param indices int32 `[tokens, k]`.
 * @param mask `[tokens]`, 0 where the token is padding: it takes none of the rows before the last offset. Absent: all
 *   are real.
 * @returns a plan of `tokens * k` rows. Caller disposes its tensors.
 * @throws when the mask is of other tokens, or there are more choices than float32 can count.
 */
export function sortByExpertOnDevice(indices: tf.Tensor2D, experts: number, mask?: tf.Tensor1D): DeviceSortPlan {
  const { tokens, k } = dims('sortByExpertOnDevice: indices', indices, ['tokens', 'k']);
  if (mask) dims('sortByExpertOnDevice: mask', mask, ['tokens'], { tokens });
  const choices = tokens * k;
  const tensors = tf.tidy(() => {
    const visits = visitsOf(indices, experts, mask);
    const ends = tf.cumsum(tf.sum(visits, 0)) as tf.Tensor1D;
    const offsets = tf.concat1d([tf.zeros([1]), ends]);
    const plan = planRows(visits, tf.slice(offsets, [0], [experts]), choices, k);
    const expertOfChoice = tf.concat([tf.reshape(constant(indices), [choices]), tf.zeros([1], 'int32')]);
    return {
      ...plan,
      offsets: tf.cast(offsets, 'int32') as tf.Tensor1D,
      groupOfRow: tf.gather(expertOfChoice, plan.choiceOfRow) as tf.Tensor1D,
    };
  });
  return { ...tensors, complete: mask === undefined };
}
