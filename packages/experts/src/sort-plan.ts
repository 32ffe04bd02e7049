import * as tf from '@tensorflow/tfjs-core';
import type { RowPlan } from '@therapeutic-moe/kernels';

/** A `RowPlan` with the row where each expert begins. */
export interface SortPlan extends RowPlan {
  /** `experts + 1` ascending row numbers. */
  readonly offsets: readonly number[];
}

/**
 * Counting sort of all choices by expert; the order of tokens within an expert is kept.
 *
 * @param indices chosen experts `[tokens, k]` row by row, each in `[0, experts)`.
 * @returns tensors that the caller disposes.
 * @throws when an index names no expert.
 */
export function sortByExpert(indices: ArrayLike<number>, k: number, experts: number): SortPlan {
  const choices = indices.length;
  const offsets = new Array<number>(experts + 1).fill(0);
  for (let i = 0; i < choices; i++) {
    const expert = indices[i]!;
    if (!(expert >= 0 && expert < experts)) {
      throw new Error(
        `sortByExpert: token ${Math.floor(i / k)} chose expert ${expert}, but experts are 0 to ${experts - 1}.`,
      );
    }
    offsets[expert + 1]!++;
  }
  for (let e = 0; e < experts; e++) offsets[e + 1]! += offsets[e]!;
  const next = offsets.slice();
  const tokenOfRow = new Int32Array(choices);
  const rowOfChoice = new Int32Array(choices);
  for (let i = 0; i < choices; i++) {
    const row = next[indices[i]!]!++;
    tokenOfRow[row] = Math.floor(i / k);
    rowOfChoice[i] = row;
  }
  return {
    offsets,
    tokenOfRow: tf.tensor1d(tokenOfRow, 'int32'),
    rowOfChoice: tf.tensor2d(rowOfChoice, [choices / k, k], 'int32'),
  };
}
