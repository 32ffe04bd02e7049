import * as tf from '@tensorflow/tfjs-core';
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
