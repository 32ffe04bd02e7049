import * as tf from '@tensorflow/tfjs-core';

/**
 * The k largest scores of each row, largest first; among equals the lower index. The choice is constant to the tape:
 * gradients reach the router through the weights of the chosen experts (Switch Transformer, arXiv:2101.03961).
 *
 * @param scores `[tokens, experts]`.
 * @returns int32 `[tokens, k]`. Caller disposes.
 */
export function topKIndices(scores: tf.Tensor2D, k: number): tf.Tensor2D {
  return tf.customGrad((x) => ({
    value: tf.tidy(() => tf.topk(x as tf.Tensor2D, k).indices),
    gradFunc: () => tf.zeros(scores.shape), // not zerosLike: the scores may be gone by then
  }))(scores) as tf.Tensor2D;
}

/**
 * The values of each row at its chosen places, with a gradient to them.
 *
 * @param values `[tokens, experts]`. @param indices int32 `[tokens, k]`. @returns `[tokens, k]`. Caller disposes.
 */
export function takeChosen(values: tf.Tensor2D, indices: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const hot = oneHotFloat(indices, values.shape[1]); // [tokens, k, experts]
    return tf.sum(tf.mul(tf.expandDims(values, 1), hot), -1) as tf.Tensor2D;
  });
}

/**
 * One-hot rows that can be summed over any axis. tfjs-wasm's float32 oneHot writes integer bits, so the int32 form is
 * cast; on WebGPU a cast keeps the int32 buffer, which a sum over an axis other than the last cannot read, so the
 * product with 1 converts it.
 *
 * @param indices int32 of any shape, each in `[0, depth)`.
 * @returns `[...indices.shape, depth]` float32. Caller disposes.
 */
export function oneHotFloat(indices: tf.Tensor, depth: number): tf.Tensor {
  if (depth === 1) return tf.ones([...indices.shape, 1]); // tf.oneHot wants two
  return tf.tidy(() => tf.mul(tf.cast(tf.oneHot(indices, depth), 'float32'), 1));
}
