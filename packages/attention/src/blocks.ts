import * as tf from '@tensorflow/tfjs-core';

/**
 * The mean of each block of `stride` consecutive rows; rows behind the last whole block are left out.
 *
 * @param rows `[batch, seq, heads, headDim]`. @returns `[batch, seq / stride, heads, headDim]`. Caller disposes.
 */
export function blockMeans(rows: tf.Tensor4D, stride: number): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, , heads, headDim] = rows.shape;
    const parts = tf.split(blocksOf(rows, stride), stride, 1);
    return tf.reshape(tf.mul(tf.addN(parts), 1 / stride), [batch, -1, heads, headDim]) as tf.Tensor4D;
  });
}

/** The last row of each block of `stride` rows, in the shape that `blockMeans` gives. Caller disposes. */
export function lastOfBlocks(rows: tf.Tensor4D, stride: number): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, , heads, headDim] = rows.shape;
    const last = tf.slice2d(blocksOf(rows, stride), [0, (stride - 1) * heads * headDim], [-1, -1]);
    return tf.reshape(last, [batch, -1, heads, headDim]) as tf.Tensor4D;
  });
}

/** Each row `times` times. @param rows `[batch, blocks, heads, headDim]`. @returns `[batch, blocks * times, heads, headDim]`. Caller disposes. */
export function repeatRows(rows: tf.Tensor4D, times: number): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, blocks, heads, headDim] = rows.shape;
    const flat = tf.reshape(rows, [batch * blocks, 1, heads * headDim]);
    return tf.reshape(tf.tile(flat, [1, times, 1]), [batch, blocks * times, heads, headDim]) as tf.Tensor4D;
  });
}

/** `[batch * blocks, stride * heads * headDim]`, a whole block in each row. */
function blocksOf(rows: tf.Tensor4D, stride: number): tf.Tensor2D {
  const [batch, seq, heads, headDim] = rows.shape;
  const blocks = Math.floor(seq / stride);
  const whole = seq % stride === 0 ? rows : tf.slice4d(rows, [0, 0, 0, 0], [-1, blocks * stride, -1, -1]);
  return tf.reshape(whole, [batch * blocks, stride * heads * headDim]) as tf.Tensor2D;
}
