import type * as tf from '@tensorflow/tfjs-core';

/** What the coarse levels of one layer keep while decoding: their blocks, and what these gave. */
export interface LevelCache {
  /** Tokens taken in before this pass. */
  readonly start: number;
  /**
   * Adds new rows, or none, and returns all rows so far under this key; of those before the new ones perhaps only the
   * newest that are needed.
   *
   * @param k `[batch, rows, heads, headDim]`; not disposed. @param v `[batch, rows, ...]`, of sizes of its own; likewise.
   * @param needed how many rows the next call needs to find. Absent: all.
   * @returns tensors owned by the cache.
   */
  append(
    key: string,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    needed?: number,
  ): { readonly k: tf.Tensor4D; readonly v: tf.Tensor4D };
}
