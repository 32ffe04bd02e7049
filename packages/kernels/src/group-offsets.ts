import * as tf from '@tensorflow/tfjs-core';
import { withGradient } from './with-gradient.js';

/** Where each group's rows begin, and the last ends: `experts + 1` row numbers, or the same as int32 `[experts + 1]`. */
export type GroupOffsets = readonly number[] | tf.Tensor1D;

/** The offsets as a tensor that the tape knows no origin of, else it would ask for their gradient. */
export function offsetsOnDevice(where: string, offsets: GroupOffsets, rows: number): tf.Tensor {
  if (!(offsets instanceof tf.Tensor)) {
    checkAscent(where, offsets, rows);
    return tf.tensor1d([...offsets], 'int32');
  }
  return withGradient(
    [],
    () => tf.clone(offsets),
    () => [],
    () => [],
  );
}

/** The offsets as numbers, read at once and checked. */
export function offsetsOnHost(where: string, offsets: GroupOffsets, rows: number): number[] {
  const onHost = offsets instanceof tf.Tensor ? [...offsets.dataSync()] : [...offsets];
  checkAscent(where, onHost, rows);
  return onHost;
}

/** Checks how many there are, which needs no reading. */
export function checkOffsetCount(where: string, offsets: GroupOffsets, experts: number): void {
  if (offsets instanceof tf.Tensor) {
    if (offsets.dtype === 'int32' && offsets.rank === 1 && offsets.size === experts + 1) return;
    throw new Error(
      `${where}: offsets must be int32 [experts + 1 = ${experts + 1}], got ${offsets.dtype} [${offsets.shape}].`,
    );
  }
  if (offsets.length !== experts + 1) {
    throw new Error(`${where}: offsets must have experts + 1 = ${experts + 1} entries, got ${offsets.length}.`);
  }
}

function checkAscent(where: string, offsets: readonly number[], rows: number): void {
  if (offsets[0] !== 0 || offsets.at(-1)! > rows || offsets.some((o, i) => i > 0 && o < offsets[i - 1]!)) {
    throw new Error(`${where}: offsets must ascend from 0 to at most ${rows} rows, got [${offsets}].`);
  }
}
