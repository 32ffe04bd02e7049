import * as tf from '@tensorflow/tfjs-core';

/**
 * The k largest scores of each row, largest first; among equals the lower index. The choice is constant to the tape:
 * gradients reach the router through the weights of the chosen experts (Switch Transformer, arXiv:2101.03961).
 *
 * @param scores `[tokens, experts]`.
 * @returns int32 `[tokens, k]`. Caller disposes.
 */
export function topKIndices(scores: tf.Tensor2D, k: number): tf.Tensor2D {
  return constantChoice(scores, (x) => tf.topk(x, k).indices);
}

/**
 * Marks the k largest scores of each row. Constant to the tape.
 *
 * @param scores `[rows, n]`. @returns `[rows, n]`, 1 at the k largest and 0 elsewhere. Caller disposes.
 */
export function topKMask(scores: tf.Tensor2D, k: number): tf.Tensor2D {
  return constantChoice(scores, (x) => tf.sum(oneHotFloat(tf.topk(x, k).indices, x.shape[1]), 1));
}

/** Below any score a router gives. */
const CLOSED = -1e9;

/**
 * Lowers the scores of closed experts so far that top-k prefers every open one.
 *
 * @param open the shape of `scores` or broadcast to it, 1 or 0. @returns the shape of `scores`. Caller disposes.
 */
export function closeOthers<T extends tf.Tensor>(scores: T, open: tf.Tensor): T {
  return tf.tidy(() => tf.add(tf.mul(scores, open), tf.mul(tf.sub(1, open), CLOSED))); // exact where open is 1
}

/**
 * Runs a choice that no gradient passes: top-k has none, and a tape that meets it throws.
 *
 * @param choose makes the choice from the scores; its intermediates are disposed.
 * @returns what `choose` returns. Caller disposes.
 */
export function constantChoice<T extends tf.Tensor>(scores: tf.Tensor2D, choose: (scores: tf.Tensor2D) => T): T {
  const { shape } = scores;
  return tf.customGrad((x) => ({
    value: tf.tidy(() => choose(x as tf.Tensor2D)),
    gradFunc: () => tf.zeros(shape), // not zerosLike: the scores may be gone by then
  }))(scores) as T;
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
