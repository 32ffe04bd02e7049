import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { isOnlyOwner } from './is-only-owner.js';

/**
 * Writes rows into a tensor that has room for them: in place, where the backend has a kernel for it and no other tensor
 * shares the memory; not on cpu, where slices share memory and nobody counts them. For decoding: it has no gradient.
 *
 * @param target float32 or int32 `[batch, room, ...]`.
 * @param rows `[batch, seq, ...]`, the dtype of `target`; not disposed.
 * @param starts `[batch]`: in which row of `target` the first of `rows` goes.
 * @returns the tensor that holds all of it from now on: `target` itself, or a new one, and then the caller disposes both.
 * @throws when shapes or dtypes differ, or rows would go outside of `target`.
 */
export function writeRows<T extends tf.Tensor>(target: T, rows: T, starts: readonly number[]): T {
  checkRows(target, rows, starts);
  if (rows.size === 0) return target;
  if (!hasFusedKernel('WriteRows') || !isOnlyOwner(target)) return joinRows(target, rows, starts);
  runFusedKernel<tf.Tensor[]>('WriteRows', { target, rows }, { starts: [...starts] });
  return target;
}

/** The plain form of `writeRows`: always a new tensor, which the caller disposes. Same arguments and values. */
export function writeRowsReference<T extends tf.Tensor>(target: T, rows: T, starts: readonly number[]): T {
  checkRows(target, rows, starts);
  return joinRows(target, rows, starts);
}

function joinRows<T extends tf.Tensor>(target: T, rows: T, starts: readonly number[]): T {
  const [room, seq] = [target.shape[1]!, rows.shape[1]!];
  return tf.tidy(() => {
    const items = starts.map((start, item) => {
      const part = (x: tf.Tensor, from: number, count: number) => tf.slice(x, [item, from], [1, count]);
      return tf.concat([part(target, 0, start), part(rows, 0, seq), part(target, start + seq, room - start - seq)], 1);
    });
    return tf.concat(items, 0) as T;
  });
}

/** Kernels write by address: what does not fit would be written into another tensor's memory. */
function checkRows(target: tf.Tensor, rows: tf.Tensor, starts: readonly number[]): void {
  const [batch, room, ...rest] = target.shape;
  const [rowsBatch, seq, ...rowsRest] = rows.shape;
  if (target.rank < 2 || rowsBatch !== batch || rowsRest.join() !== rest.join() || rows.dtype !== target.dtype) {
    throw new Error(
      `writeRows: rows must be ${target.dtype} [${[batch, 'seq', ...rest]}] like target, got ${rows.dtype} [${rows.shape}].`,
    );
  }
  if (starts.length !== batch)
    throw new Error(`writeRows: starts must have one number for each of ${batch} items, got [${starts}].`);
  const bad = starts.findIndex((start) => !(Number.isInteger(start) && start >= 0 && start + seq! <= room!));
  if (bad >= 0)
    throw new Error(`writeRows: ${seq} rows from ${starts[bad]} do not fit the ${room} rows of item ${bad}.`);
}
