import type { TensorPiece } from '../hugging-face/tensor-map.js';

/** Copies a block of our parameter's values out, in the order of the checkpoint it goes to. */
export function extractPiece({ shape, start, rowStride }: TensorPiece, source: Float32Array): Float32Array {
  const size = shape.reduce((product, axis) => product * axis, 1);
  if (rowStride === undefined) return source.subarray(start, start + size);
  const [outputs, inputs] = shape as [number, number];
  const target = new Float32Array(size);
  for (let i = 0; i < inputs; i++) {
    const row = start + i * rowStride;
    for (let o = 0; o < outputs; o++) target[o * inputs + i] = source[row + o]!;
  }
  return target;
}
