import type * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from '@therapeutic-moe/nn';

/**
 * Where each token goes. All tensors belong to whoever called `route`. A type, not an interface, so that `tf.tidy` can
 * return it.
 */
export type Routing = {
  /** `[tokens, experts]`, with `softmax(logits) = probabilities`. */
  readonly logits: tf.Tensor2D;
  /** `[tokens, experts]`, rows sum to 1: what balance losses look at. */
  readonly probabilities: tf.Tensor2D;
  /** Chosen experts int32 `[tokens, k]`, best first; with a balance bias or groups, best by what they were chosen by. */
  readonly indices: tf.Tensor2D;
  /** Weight of each chosen expert `[tokens, k]`. */
  readonly weights: tf.Tensor2D;
  /** The raw outputs of every gate, `[tokens, n]` each: what the z-loss keeps small. */
  readonly gates: tf.Tensor2D[];
};

/** What one pass tells its router besides the hidden states. */
export interface RoutePass {
  /** `[tokens]`, 1 where the token is real, 0 where it is padding. Absent: all are real. */
  readonly mask?: tf.Tensor1D;
  /** How the tokens lie in sequences, `tokens = batch * seq` row by row; for routers that look along a sequence. */
  readonly sequences?: { readonly batch: number; readonly seq: number };
  /** Present while training: seeds jitter, noise and dropout. Absent: none. */
  readonly seed?: number;
  /** Choices to repeat instead of choosing, int32 `[tokens, k]` (routing replay); weights still follow the gate. */
  readonly replay?: tf.Tensor2D;
  /** Decoding: earlier keys and values, for routers with attention. */
  readonly cache?: SequenceCache;
}

/** Where a router with attention keeps the keys and values of earlier tokens; one key per layer and use. */
export interface SequenceCache {
  /**
   * Adds new rows and returns all rows seen so far under this key; of those before the new ones perhaps only the newest
   * that are needed.
   *
   * @param k `[batch, seq, kvHeads, headDim]`; not disposed. @param v likewise.
   * @param needed how many rows the next call needs to find. Absent: all.
   */
  append(key: string, k: tf.Tensor4D, v: tf.Tensor4D, needed?: number): { k: tf.Tensor4D; v: tf.Tensor4D };
}

/** Chooses the experts of each token. */
export interface Router {
  readonly hiddenSize: number;
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  /** @param hidden `[tokens, hidden]` @throws when `hidden` or the pass do not fit. */
  route(hidden: tf.Tensor2D, pass?: RoutePass): Routing;
  /** What is trained. */
  parameters(): Parameters;
  /** What is saved with the parameters but not trained by gradients, such as a balancing bias. */
  buffers(): Parameters;
  dispose(): void;
}
