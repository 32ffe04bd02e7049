import * as tf from '@tensorflow/tfjs-core';
import type { TensorPiece } from './tensor-map.js';

/**
 * The values of one piece of a parameter in Hugging Face's order, cut out and turned on the device, so that only the
 * piece comes to the host.
 *
 * @param parameter ours, of any shape. @returns an array that is only to be read.
 */
export async function pieceValues(
  parameter: tf.Tensor,
  { shape, start, rowStride }: TensorPiece,
): Promise<Float32Array> {
  const piece = tf.tidy(() => {
    if (rowStride === undefined) {
      const size = shape.reduce((product, d) => product * d, 1);
      return tf.slice(tf.reshape(parameter, [-1]), [start], [size]);
    }
    const [outputs, inputs] = shape as [number, number];
    const rows = tf.reshape(parameter, [-1, rowStride]);
    return tf.transpose(tf.slice(rows, [Math.floor(start / rowStride), start % rowStride], [inputs, outputs]));
  });
  try {
    return await piece.data<'float32'>();
  } finally {
    piece.dispose();
  }
}
