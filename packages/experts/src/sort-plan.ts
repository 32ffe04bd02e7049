import * as tf from '@tensorflow/tfjs-core';
import type { GroupedRowPlan } from '@therapeutic-moe/kernels';

/** A plan that drops nothing, made on the host: one row per choice of a real token, sorted by expert. */
export interface SortPlan extends GroupedRowPlan {
  readonly offsets: readonly number[];
}

/**
 * Counting sort of all choices by expert; the order of tokens within an expert is kept.
 *
 * @param indices chosen experts `[tokens, k]` row by row, each in `[0, experts)`.
 * @param mask `[tokens]`, 0 where the token is padding: it gets no row. Absent: all are real.
 * @returns tensors that the caller disposes.
 * @throws when the index of a real token names no expert, or indices, k and mask are not of the same tokens.
 */
export function sortByExpert(
  indices: ArrayLike<number>,
  k: number,
  experts: number,
  mask?: ArrayLike<number>,
): SortPlan {
  const choices = indices.length;
  const tokens = choices / k;
  if (!Number.isInteger(tokens) || (mask && mask.length !== tokens)) {
    throw new Error(
      `sortByExpert: ${choices} indices with k ${k}${mask ? ` and a mask of ${mask.length}` : ''} do not describe the same tokens.`,
    );
  }
  const isReal = (choice: number) => mask?.[Math.floor(choice / k)] !== 0;
  const offsets = countByExpert(indices, k, experts, isReal);
  const rows = offsets[experts]!;
  const next = offsets.slice();
  const [tokenOfRow, choiceOfRow, groupOfRow] = [new Int32Array(rows), new Int32Array(rows), new Int32Array(rows)];
  const rowOfChoice = new Int32Array(choices).fill(rows);
  for (let i = 0; i < choices; i++) {
    if (!isReal(i)) continue;
    const row = next[indices[i]!]!++;
    tokenOfRow[row] = Math.floor(i / k);
    choiceOfRow[row] = i;
    groupOfRow[row] = indices[i]!;
    rowOfChoice[i] = row;
  }
  return {
    offsets,
    tokenOfRow: tf.tensor1d(tokenOfRow, 'int32'),
    choiceOfRow: tf.tensor1d(choiceOfRow, 'int32'),
    groupOfRow: tf.tensor1d(groupOfRow, 'int32'),
    rowOfChoice: tf.tensor2d(rowOfChoice, [tokens, k], 'int32'),
    complete: rows === choices,
  };
}

function countByExpert(
  indices: ArrayLike<number>,
  k: number,
  experts: number,
  isReal: (choice: number) => boolean,
): number[] {
  const offsets = new Array<number>(experts + 1).fill(0);
  for (let i = 0; i < indices.length; i++) {
    if (!isReal(i)) continue;
    const expert = indices[i]!;
    if (!(expert >= 0 && expert < experts)) {
      throw new Error(
        `sortByExpert: token ${Math.floor(i / k)} chose expert ${expert}, but experts are 0 to ${experts - 1}.`,
      );
    }
    offsets[expert + 1]!++;
  }
  for (let e = 0; e < experts; e++) offsets[e + 1]! += offsets[e]!;
  return offsets;
}
