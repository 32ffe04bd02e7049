import * as tf from '@tensorflow/tfjs-core';
import type { TensorPiece } from './tensor-map.js';

/**
 * The values of one piece of a parameter in Hugging Face's order. Only the rows that it lies in come to the host, which
 * turns them: faster than the device on every backend without a GPU (22 ns a value, against 50 on wasm and 200 to 3,000 on
 * cpu).
 *
 * @param parameter ours, of any shape. @returns an array that is only to be read.
 */
export async function pieceValues(
  parameter: tf.Tensor,
  { shape, start, rowStride }: TensorPiece,
): Promise<Float32Array> {
  if (rowStride === undefined) {
    const size = shape.reduce((product, d) => product * d, 1);
    return valuesOf(() => tf.slice(tf.reshape(parameter, [-1]), [start], [size]));
  }
  const [outputs, inputs] = shape as [number, number];
  const rows = await valuesOf(() =>
    tf.slice(tf.reshape(parameter, [-1, rowStride]), [Math.floor(start / rowStride), 0], [inputs, rowStride]),
  );
  return turned(rows, { inputs, outputs, rowStride, column: start % rowStride });
}

async function valuesOf(make: () => tf.Tensor): Promise<Float32Array> {
  const tensor = tf.tidy(make);
  try {
    return await tensor.data<'float32'>();
  } finally {
    tensor.dispose();
  }
}

/** Both arrays of one square fit the processor's first cache. */
const SQUARE = 32;

/** Columns of `rows` `[inputs, rowStride]` from `column` on as rows, `[outputs, inputs]`. */
function turned(
  rows: Float32Array,
  sizes: { inputs: number; outputs: number; rowStride: number; column: number },
): Float32Array {
  const { inputs, outputs, rowStride, column } = sizes;
  const values = new Float32Array(outputs * inputs);
  for (let top = 0; top < outputs; top += SQUARE)
    for (let left = 0; left < inputs; left += SQUARE) {
      const [bottom, right] = [Math.min(outputs, top + SQUARE), Math.min(inputs, left + SQUARE)];
      for (let o = top; o < bottom; o++)
        for (let i = left; i < right; i++) values[o * inputs + i] = rows[i * rowStride + column + o]!;
    }
  return values;
}
