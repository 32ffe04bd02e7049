import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/**
 * Rows of `x` by number, with a gradient that adds each row's share back (`tf.gather` along axis 0, without its tape
 * trap on the indices).
 *
 * @param x `[rows, ...]`.
 * @param indices int32 of any shape, each in `[0, rows)`. On wasm and cpu an index outside is an error; check ids where
 *   text becomes ids, since WebGPU reads zeros there.
 * @returns `[...indices.shape, ...]`. Caller disposes.
 */
export function gather(x: tf.Tensor, indices: tf.Tensor): tf.Tensor {
  const rows = x.shape[0]!;
  const width = x.shape.slice(1);
  return withGradient(
    [x],
    () => tf.gather(x, indices),
    () => [indices],
    (dy, kept) => {
      const flat = tf.reshape(kept[0]!, [-1]) as tf.Tensor1D;
      return tf.unsortedSegmentSum(tf.reshape(dy, [flat.size, ...width]), flat, rows);
    },
  );
}

/**
 * Where each routed row comes from and goes to: choices, `tokens x k`, and rows sorted by expert, one to one except for
 * choices without a row (padding, or dropped). Plain int32 tensors; whoever made them disposes them after the backward pass.
 */
export interface RowPlan {
  /** `[rows]` the token each sorted row came from; any token for a row that no choice names. */
  readonly tokenOfRow: tf.Tensor1D;
  /** `[tokens, k]` the sorted row of each choice, a row at most once; a number past the rows means no row. */
  readonly rowOfChoice: tf.Tensor2D;
}

/**
 * Copies each token's hidden state to the sorted rows of its k experts. The gradient is again a gather (the sum of a
 * token's k rows), never a scatter.
 *
 * @param x `[tokens, hidden]`.
 * @returns `[rows, hidden]`, rows in the plan's order. Caller disposes.
 */
export function dispatchRows(x: tf.Tensor2D, plan: RowPlan): tf.Tensor2D {
  return withGradient(
    [x],
    () => tf.gather(x, plan.tokenOfRow),
    () => [plan.rowOfChoice],
    (dy, kept) => sumChoices(dy as tf.Tensor2D, kept[0] as tf.Tensor2D),
  );
}

function sumChoices(rows: tf.Tensor2D, rowOfChoice: tf.Tensor2D): tf.Tensor2D {
  if (hasFusedKernel('CombineRows')) return runFusedKernel('CombineRows', { rows, rowOfChoice });
  return tf.tidy(() => tf.sum(chosenRows(rows, rowOfChoice), 1));
}

/** `[tokens, k, hidden]`: the row of each choice; no row reads as zeros. */
function chosenRows(rows: tf.Tensor2D, rowOfChoice: tf.Tensor2D): tf.Tensor {
  const [count, hidden] = rows.shape;
  const padded = tf.concat2d([rows, tf.zeros([1, hidden])], 0);
  return gather(padded, tf.minimum(rowOfChoice, tf.scalar(count, 'int32')));
}

/**
 * Weighted sum of every token's k expert outputs: `y[t] = sum_j weights[t, j] * rows[rowOfChoice[t, j]]`; a
 * choice without a row adds nothing.
 *
 * @param rows `[rows, hidden]` in the plan's order.
 * @param weights `[tokens, k]`, differentiable: this is how the router learns.
 * @returns `[tokens, hidden]`. Caller disposes.
 */
export function combineRows(rows: tf.Tensor2D, weights: tf.Tensor2D, plan: RowPlan): tf.Tensor2D {
  if (!hasFusedKernel('CombineRows')) return combineRowsReference(rows, weights, plan);
  return withGradient(
    [rows, weights],
    () => runFusedKernel('CombineRows', { rows, weights, rowOfChoice: plan.rowOfChoice }),
    () => [rows, weights, plan.rowOfChoice],
    (dy, kept) => {
      const [rows, weights, rowOfChoice] = kept as [tf.Tensor, tf.Tensor, tf.Tensor];
      return runFusedKernel<tf.Tensor[]>('CombineRowsGradient', { dy, rows, weights, rowOfChoice });
    },
  );
}

/** The plain form of `combineRows`. Same arguments, result and gradient. */
export function combineRowsReference(rows: tf.Tensor2D, weights: tf.Tensor2D, plan: RowPlan): tf.Tensor2D {
  return tf.tidy(() => {
    return tf.sum(tf.mul(chosenRows(rows, plan.rowOfChoice), tf.expandDims(weights, -1)), 1);
  });
}
