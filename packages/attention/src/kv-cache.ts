import type * as tf from '@tensorflow/tfjs-core';
import type { KeyRanges } from '@therapeutic-moe/kernels';

/** Keys and values of the tokens seen so far, per layer: attention's working memory while decoding. */
export interface KvCache {
  /**
   * Adds the new tokens of one layer and returns all that this layer holds. To be called in a `tf.tidy`, which ends what
   * the cache does not own itself; what is returned is good until the layer's next append.
   *
   * @param k `[batch, seq, kvHeads, headDim]`, rotated; not disposed. @param v likewise.
   * @param newTokens `[batch]`: how many of the new tokens of each row are real, the first ones; the others are padding,
   *   which nothing sees and later tokens overwrite. Absent: all.
   * @throws when a row would exceed the cache's capacity, or shapes or numbers do not fit; nothing is added then.
   */
  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D, newTokens?: readonly number[]): CachedKeys;
  /**
   * Counts one more token of a layer as taken in and returns where a kernel writes its key and value in place, or
   * undefined where it cannot. Absent where a cache is never written in place.
   *
   * @param shape of one token's keys: `[kvHeads, headDim]`.
   */
  reserve?(layer: number, shape: readonly [kvHeads: number, headDim: number]): KvRoom | undefined;
  /** Tokens taken in, of the longest row, once every layer has appended: the position of the next one. */
  readonly length: number;
  dispose(): void;
}

/** The keys and values of a layer. */
export interface CachedKeys {
  /** `[batch, rows, kvHeads, headDim]`. */
  readonly k: tf.Tensor4D;
  /** The shape of `k`. */
  readonly v: tf.Tensor4D;
  /**
   * Which rows each new token sees, causality included, where rows may also be empty or not of this row's sequence.
   * Absent: the rows are the tokens so far, the new ones last.
   */
  readonly ranges?: KeyRanges;
}

/** Room in a cache; what is in rows from `position` on means nothing until it is written. */
export interface KvRoom {
  /** `[1, rows, kvHeads, headDim]`, `rows > position`; owned by the cache, valid until it is next asked for more. */
  readonly k: tf.Tensor4D;
  /** The shape of `k`. */
  readonly v: tf.Tensor4D;
  /** The row where the token goes; those before it are the tokens before it. */
  readonly position: number;
  /** Most tokens that this one sees, itself included. Absent: all in the rows before it. */
  readonly window?: number;
}

/** @throws when a row would have more tokens than a cache may hold. */
export function refuseOverflow(total: number, capacity: number): void {
  if (total <= capacity) return;
  throw new Error(
    `KvCache.append: ${total} tokens do not fit a cache of ${capacity}; start a new session or shorten the prompt.`,
  );
}

/** @throws when a cache could not go back to so many tokens. */
export function checkTruncate(length: number): void {
  if (Number.isInteger(length) && length >= 0) return;
  throw new Error(`KvCache.truncate: length must be a whole number of 0 or more tokens, got ${length}.`);
}

/** @throws when a cache could not hold a token. */
export function checkCapacity(capacity: number): void {
  if (!(capacity >= 1)) throw new Error(`KvCache: capacity must be 1 or more tokens, got ${capacity}.`);
}
