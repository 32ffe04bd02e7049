import type * as tf from '@tensorflow/tfjs-core';
import type { ApplyContext, Parameters } from '@therapeutic-moe/nn';
import type { SequenceCache } from '@therapeutic-moe/router';

/**
 * Rows sorted by expert and, within an expert, by token; empty rows come last in their expert, or after the last
 * offset. What an empty row gives is never read, and its gradient is zero; it must only be finite.
 */
export interface ExpertRows {
  /** `experts + 1` ascending row numbers, on the host or as int32 `[experts + 1]` on the device. */
  readonly offsets: readonly number[] | tf.Tensor1D;
  /** int32 `[rows]` the expert of each row; of an empty row, any. */
  readonly groupOfRow: tf.Tensor1D;
  /** int32 `[rows]` the token of each row; `tokens` where the row is empty. */
  readonly tokenOfRow: tf.Tensor1D;
  /** How many tokens there are. */
  readonly tokens: number;
}

/** Tokens of several sequences, one sequence after the other. */
export interface Sequences {
  readonly batch: number;
  readonly seq: number;
}

/** What one pass tells the experts besides the rows. */
export interface ExpertPass {
  /** Present while training: seeds dropout. Absent: none. */
  readonly seed?: number;
  /** How the tokens lie in sequences, `tokens = batch * seq`; for experts that look along a sequence. */
  readonly sequences?: Sequences;
  /**
   * Decoding one sequence: the keys and values of its earlier tokens, for experts with attention. Keys name the expert;
   * one cache serves one layer, in one form of dispatch.
   */
  readonly cache?: SequenceCache;
  /** What stacks with adapters are told. */
  readonly context?: ApplyContext;
}

/**
 * The experts of one layer. Two ways to one answer: `applyGrouped` on rows sorted by expert, `applyExpert` with one
 * expert at a time on every token.
 */
export interface Experts {
  readonly experts: number;
  readonly hidden: number;
  /**
   * @param rows `[rows, hidden]` sorted by expert.
   * @returns `[rows, hidden]`. Caller disposes.
   */
  applyGrouped(rows: tf.Tensor2D, groups: ExpertRows, pass?: ExpertPass): tf.Tensor2D;
  /**
   * @param hidden `[tokens, hidden]`, every token.
   * @param visits `[tokens]`, 1 where the router sent the token to this expert; only experts that look along a sequence
   *   ask.
   * @returns `[tokens, hidden]`; only the rows with a visit count. Caller disposes.
   */
  applyExpert(hidden: tf.Tensor2D, expert: number, visits: tf.Tensor1D, pass?: ExpertPass): tf.Tensor2D;
  /**
   * New experts of the same kind: `change` maps every stacked parameter `[experts, ...]` to its successor, which may
   * have another number of experts; parameters shared by all experts are copied. How pools are pruned, grown and
   * merged.
   *
   * @returns experts with variables of their own; the caller owns them.
   */
  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): Experts;
  parameters(): Parameters;
  dispose(): void;
}
