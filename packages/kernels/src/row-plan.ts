import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { gather } from './gather.js';
import { withGradient } from './with-gradient.js';

/**
 * Where each routed row comes from and goes to. A choice is one of a token's k experts; every choice has a row of its
 * own or is dropped, and a row without a choice is empty. Both directions are given, so that the gradient of a gather
 * is again a gather. Plain int32 tensors; whoever made them disposes them after the backward pass.
 */
export interface RowPlan {
  /** `[rows]` the token each row came from; `tokens` where the row is empty. */
  readonly tokenOfRow: tf.Tensor1D;
  /** `[rows]` the choice each row stands for, `token * k + place`; `tokens * k` where the row is empty. */
  readonly choiceOfRow: tf.Tensor1D;
  /** `[tokens, k]` the row of each choice; `rows` where the choice is dropped. */
  readonly rowOfChoice: tf.Tensor2D;
  /** True when no row is empty and no choice dropped, which saves looking. */
  readonly complete: boolean;
}

/** A plan whose rows are sorted by group (expert). */
export interface GroupedRowPlan extends RowPlan {
  /** `groups + 1` ascending row numbers, on the host or as int32 `[groups + 1]` on the device. */
  readonly offsets: readonly number[] | tf.Tensor1D;
  /** int32 `[rows]` the group of each row; of an empty row, any group. */
  readonly groupOfRow: tf.Tensor1D;
}

/**
 * Copies each token's hidden state to the rows of its choices; empty rows are zero. The gradient is again a gather (the
 * sum of a token's rows), never a scatter.
 *
 * @param x `[tokens, hidden]`.
 * @returns `[rows, hidden]`, rows in the plan's order. Caller disposes.
 */
export function dispatchRows(x: tf.Tensor2D, plan: RowPlan): tf.Tensor2D {
  const { complete } = plan;
  return withGradient(
    [x],
    () => takeRows(x, plan.tokenOfRow, complete),
    () => [plan.rowOfChoice],
    (dy, kept) => sumChoices(dy as tf.Tensor2D, kept[0] as tf.Tensor2D, complete),
  );
}

/**
 * Weighted sum of every token's expert outputs: `y[t] = sum_j weights[t, j] * rows[rowOfChoice[t, j]]`, where a dropped
 * choice adds nothing. Both gradients are gathers.
 *
 * @param rows `[rows, hidden]` in the plan's order.
 * @param weights `[tokens, k]`, differentiable: this is how the router learns.
 * @returns `[tokens, hidden]`. Caller disposes.
 */
export function combineRows(rows: tf.Tensor2D, weights: tf.Tensor2D, plan: RowPlan): tf.Tensor2D {
  const { complete } = plan;
  return withGradient(
    [rows, weights],
    () => combine(rows, weights, plan.rowOfChoice, complete),
    () => [rows, weights, plan.rowOfChoice, plan.tokenOfRow, plan.choiceOfRow],
    (dy, kept) => {
      const [rows, weights, rowOfChoice, tokenOfRow, choiceOfRow] = kept as [
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor1D,
        tf.Tensor1D,
      ];
      if (hasFusedKernel('CombineRowsGradient')) {
        const inputs = { dy, rows, weights, rowOfChoice, tokenOfRow, choiceOfRow };
        return runFusedKernel<tf.Tensor[]>('CombineRowsGradient', inputs, { complete });
      }
      const flat = tf.reshape(weights, [-1, 1]) as tf.Tensor2D;
      const share = takeRows(flat, choiceOfRow, complete); // [rows, 1], 0 for an empty row
      const dRows = tf.mul(takeRows(dy as tf.Tensor2D, tokenOfRow, complete), share);
      const dWeights = tf.sum(tf.mul(takeRows(rows, rowOfChoice, complete), tf.expandDims(dy, 1)), -1);
      return [dRows, dWeights];
    },
  );
}

/** The plain form of `combineRows`, differentiated by the tape. Same arguments, result and gradient. */
export function combineRowsReference(rows: tf.Tensor2D, weights: tf.Tensor2D, plan: RowPlan): tf.Tensor2D {
  return tf.tidy(() => {
    const choices = gather(plan.complete ? rows : withZeroRow(rows), plan.rowOfChoice); // [tokens, k, hidden]
    return tf.sum(tf.mul(choices, tf.expandDims(weights, -1)), 1);
  });
}

function combine(rows: tf.Tensor2D, weights: tf.Tensor2D, rowOfChoice: tf.Tensor2D, complete: boolean): tf.Tensor2D {
  if (hasFusedKernel('CombineRows')) return runFusedKernel('CombineRows', { rows, weights, rowOfChoice }, { complete });
  return tf.tidy(() => tf.sum(tf.mul(takeRows(rows, rowOfChoice, complete), tf.expandDims(weights, -1)), 1));
}

function sumChoices(rows: tf.Tensor2D, rowOfChoice: tf.Tensor2D, complete: boolean): tf.Tensor2D {
  if (hasFusedKernel('CombineRows')) return runFusedKernel('CombineRows', { rows, rowOfChoice }, { complete });
  return tf.tidy(() => tf.sum(takeRows(rows, rowOfChoice, complete), 1));
}

/** Rows by number, zero where the number is one past the last. Not differentiable. */
function takeRows<T extends tf.Tensor>(x: tf.Tensor2D, indices: tf.Tensor, complete: boolean): T {
  if (complete) return tf.gather(x, indices as tf.Tensor1D) as tf.Tensor as T;
  if (hasFusedKernel('TakeRows')) return runFusedKernel<tf.Tensor>('TakeRows', { x, indices }) as T;
  return tf.tidy(() => tf.gather(withZeroRow(x), indices as tf.Tensor1D) as tf.Tensor as T);
}

function withZeroRow(x: tf.Tensor2D): tf.Tensor2D {
  return tf.concat2d([x, tf.zeros([1, x.shape[1]])], 0);
}
