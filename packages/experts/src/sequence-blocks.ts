import * as tf from '@tensorflow/tfjs-core';
import type { RowPlan } from '@therapeutic-moe/kernels';
import { oneHotFloat, planRows } from '@therapeutic-moe/router';
import type { ExpertRows, Sequences } from './experts.js';
import { readsAtOnce } from './reads-at-once.js';

/**
 * The rows of one expert in one sequence side by side, in order of token, padded at the end to one length: so plain
 * causal attention within each block is attention among the tokens that the router sent to one expert. Both ways are
 * plans for `dispatchRows`.
 */
export interface SequenceBlocks {
  readonly blocks: number;
  /** Rows per block. */
  readonly length: number;
  /** From `[rows, n]` to `[blocks * length, n]`. */
  readonly toBlocks: RowPlan;
  /** Back. Rows in no block, the empty ones, are zero. */
  readonly toRows: RowPlan;
}

/** Consecutive rows of one expert in one sequence. */
export interface Run {
  readonly expert: number;
  readonly first: number;
  readonly count: number;
}

/**
 * Lays out blocks on the host where the rows can be read at once, else on the device.
 *
 * @returns plans whose tensors the caller disposes.
 */
export function sequenceBlocks(groups: ExpertRows, experts: number, sequences: Sequences): SequenceBlocks {
  return readsAtOnce() ? blocksOnHost(groups, sequences) : blocksOnDevice(groups, experts, sequences);
}

/** Reads the rows and gives the runs of real ones. */
export function runsOf({ tokenOfRow, groupOfRow, tokens }: ExpertRows, { seq }: Sequences): Run[] {
  const [token, group] = [tokenOfRow.dataSync(), groupOfRow.dataSync()];
  const runs: { expert: number; sequence: number; first: number; count: number }[] = [];
  for (let row = 0; row < token.length; row++) {
    if (token[row] === tokens) continue;
    const [expert, sequence] = [group[row]!, Math.floor(token[row]! / seq)];
    const last = runs.at(-1);
    if (last?.expert === expert && last.sequence === sequence) last.count++;
    else runs.push({ expert, sequence, first: row, count: 1 });
  }
  return runs;
}

/** As many and as long as the rows need. */
export function blocksOnHost(groups: ExpertRows, sequences: Sequences): SequenceBlocks {
  const rows = groups.tokenOfRow.size;
  const runs = runsOf(groups, sequences);
  const blocks = Math.max(1, runs.length);
  const length = Math.max(1, ...runs.map(({ count }) => count));
  const slots = blocks * length;
  const [rowOfSlot, slotOfRow] = [new Int32Array(slots).fill(rows), new Int32Array(rows).fill(slots)];
  for (const [block, { first, count }] of runs.entries()) {
    for (let place = 0; place < count; place++) {
      rowOfSlot[block * length + place] = first + place;
      slotOfRow[first + place] = block * length + place;
    }
  }
  return thereAndBack(blocks, length, tf.tensor1d(rowOfSlot, 'int32'), tf.tensor1d(slotOfRow, 'int32'));
}

/** One per expert and sequence, as long as could be needed; nothing is read back. */
export function blocksOnDevice(groups: ExpertRows, experts: number, { batch, seq }: Sequences): SequenceBlocks {
  const blocks = experts * batch;
  const length = Math.min(seq, longestGroup(groups));
  const [rowOfSlot, slotOfRow] = tf.tidy(() => {
    const sequence = Int32Array.from({ length: groups.tokens + 1 }, (_, t) => (t === groups.tokens ? 0 : t / seq));
    const real = Float32Array.from({ length: groups.tokens + 1 }, (_, t) => (t === groups.tokens ? 0 : 1));
    const sequenceOfRow = tf.gather(tf.tensor1d(sequence, 'int32'), groups.tokenOfRow);
    const block = tf.add(tf.mul(groups.groupOfRow, tf.scalar(batch, 'int32')), sequenceOfRow);
    const isReal = tf.reshape(tf.gather(tf.tensor1d(real), groups.tokenOfRow), [-1, 1]);
    const starts = tf.tensor1d(Float32Array.from({ length: blocks }, (_, b) => b * length));
    const hot = tf.mul(oneHotFloat(block, blocks), isReal) as tf.Tensor2D;
    const plan = planRows(hot, starts, blocks * length, 1);
    return [plan.tokenOfRow, tf.reshape(plan.rowOfChoice, [-1]) as tf.Tensor1D];
  });
  return thereAndBack(blocks, length, rowOfSlot!, slotOfRow!);
}

/** Most rows that a group can have, as far as the host knows. */
function longestGroup({ offsets, tokenOfRow }: ExpertRows): number {
  if ('dataId' in offsets) return Math.max(1, tokenOfRow.size);
  return Math.max(1, ...offsets.slice(1).map((end, e) => end - offsets[e]!));
}

function thereAndBack(blocks: number, length: number, rowOfSlot: tf.Tensor1D, slotOfRow: tf.Tensor1D): SequenceBlocks {
  const column = (t: tf.Tensor1D) => tf.reshape(t, [t.size, 1]) as tf.Tensor2D;
  return {
    blocks,
    length,
    toBlocks: { tokenOfRow: rowOfSlot, choiceOfRow: rowOfSlot, rowOfChoice: column(slotOfRow), complete: false },
    toRows: { tokenOfRow: slotOfRow, choiceOfRow: slotOfRow, rowOfChoice: column(rowOfSlot), complete: false },
  };
}
