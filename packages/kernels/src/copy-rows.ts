import * as tf from '@tensorflow/tfjs-core';

type Numbers = Float32Array | Int32Array | Uint8Array;

/** Where the rows of one item lie, in numbers: `count` of them from `from` in the rows go to `to` in the target. */
export interface RowsOfItem {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** What `writeRows` moves: one piece for each item. */
export function rowsOfItems(target: tf.TensorInfo, rows: tf.TensorInfo, starts: readonly number[]): RowsOfItem[] {
  const width = tf.util.sizeFromShape(target.shape.slice(2));
  const [room, seq] = [target.shape[1]!, rows.shape[1]!];
  return starts.map((start, item) => ({
    from: item * seq * width,
    to: (item * room + start) * width,
    count: seq * width,
  }));
}

/** Moves the pieces between two arrays. */
export function copyRows(target: Numbers, rows: Numbers, pieces: readonly RowsOfItem[]): void {
  for (const { from, to, count } of pieces) target.set(rows.subarray(from, from + count), to);
}
