import * as tf from '@tensorflow/tfjs-core';
import type { KeyRanges } from '@therapeutic-moe/kernels';

/** Keys and values of the tokens seen so far, per layer: attention's working memory while decoding. */
export interface KvCache {
  /**
   * Adds the new tokens of one layer and returns all that this layer holds.
   *
   * @param k `[batch, seq, kvHeads, headDim]`, rotated; not disposed. @param v likewise.
   * @returns keys and values, owned by the cache.
   */
  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D): CachedKeys;
  /**
   * Counts one more token of a layer as taken in and returns where a kernel writes its key and value in place. Absent
   * where a cache cannot be written in place.
   *
   * @param shape of one token's keys: `[kvHeads, headDim]`.
   */
  reserve?(layer: number, shape: readonly [kvHeads: number, headDim: number]): KvRoom;
  /** Tokens held, once every layer has appended. */
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
  /** Tokens before this one, and the row where it goes. */
  readonly position: number;
}

/** A cache that grows by concatenation. */
export class ConcatKvCache implements KvCache {
  readonly #layers = new Map<number, { k: tf.Tensor4D; v: tf.Tensor4D }>();

  /** @param capacity most tokens it will hold. */
  constructor(readonly capacity: number) {
    checkCapacity(capacity);
  }

  get length(): number {
    return this.#layers.get(0)?.k.shape[1] ?? 0;
  }

  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const held = this.#layers.get(layer);
    const total = (held?.k.shape[1] ?? 0) + k.shape[1];
    refuseOverflow(total, this.capacity);
    const grown = {
      k: tf.keep(held ? tf.concat4d([held.k, k], 1) : tf.clone(k)),
      v: tf.keep(held ? tf.concat4d([held.v, v], 1) : tf.clone(v)),
    };
    if (held) tf.dispose([held.k, held.v]);
    this.#layers.set(layer, grown);
    return grown;
  }

  /** Forgets all but the first `length` tokens of every layer: takes back a pass that failed half-way. */
  truncate(length: number): void {
    for (const [layer, { k, v }] of this.#layers) {
      if (k.shape[1] <= length) continue;
      if (length === 0) this.#layers.delete(layer);
      else this.#layers.set(layer, { k: tf.keep(firstRows(k, length)), v: tf.keep(firstRows(v, length)) });
      tf.dispose([k, v]);
    }
  }

  dispose(): void {
    for (const { k, v } of this.#layers.values()) tf.dispose([k, v]);
    this.#layers.clear();
  }
}

/**
 * A cache of one sequence with room for tokens to come, written in place where a kernel can (`reserve`): a token costs no
 * copy of those before it. The room doubles up to the capacity. `append` concatenates, for passes without such a kernel;
 * both may alternate.
 */
export class GrowingKvCache implements KvCache {
  readonly #layers = new Map<number, { k: tf.Tensor4D; v: tf.Tensor4D; length: number }>();

  /** @param capacity most tokens it will hold. */
  constructor(readonly capacity: number) {
    checkCapacity(capacity);
  }

  get length(): number {
    return this.#layers.get(0)?.length ?? 0;
  }

  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const held = this.#layers.get(layer);
    const length = held?.length ?? 0;
    const total = length + k.shape[1];
    refuseOverflow(total, this.capacity);
    const join = (old: tf.Tensor4D | undefined, fresh: tf.Tensor4D) => {
      if (!old || length === 0) return tf.keep(tf.add(fresh, 0) as tf.Tensor4D); // a clone would share the memory that is written into
      return tf.keep(tf.tidy(() => tf.concat4d([firstRows(old, length), fresh], 1)));
    };
    return this.#replace(layer, { k: join(held?.k, k), v: join(held?.v, v), length: total });
  }

  reserve(layer: number, [kvHeads, headDim]: readonly [kvHeads: number, headDim: number]): KvRoom {
    const held = this.#layers.get(layer);
    const position = held?.length ?? 0;
    refuseOverflow(position + 1, this.capacity);
    if (held && position < held.k.shape[1]) {
      held.length++;
      return { k: held.k, v: held.v, position };
    }
    const rows = Math.min(this.capacity, Math.max(FIRST_ROOM, 2 * position));
    const widen = (old: tf.Tensor4D | undefined) =>
      tf.tidy(() => {
        const room = tf.zeros<tf.Rank.R4>([1, rows - position, kvHeads, headDim]);
        return tf.keep(old ? tf.concat4d([old, room], 1) : room);
      });
    const grown = this.#replace(layer, { k: widen(held?.k), v: widen(held?.v), length: position + 1 });
    return { k: grown.k, v: grown.v, position };
  }

  /** Forgets all but the first `length` tokens of every layer: takes back a pass that failed half-way. */
  truncate(length: number): void {
    for (const held of this.#layers.values()) held.length = Math.min(held.length, length);
  }

  dispose(): void {
    for (const { k, v } of this.#layers.values()) tf.dispose([k, v]);
    this.#layers.clear();
  }

  #replace(layer: number, grown: { k: tf.Tensor4D; v: tf.Tensor4D; length: number }) {
    const held = this.#layers.get(layer);
    if (held) tf.dispose([held.k, held.v]);
    this.#layers.set(layer, grown);
    return grown;
  }
}

/** Tokens that an empty cache makes room for. */
const FIRST_ROOM = 16;

function firstRows(held: tf.Tensor4D, length: number): tf.Tensor4D {
  return tf.slice4d(held, [0, 0, 0, 0], [-1, length, -1, -1]);
}

function checkCapacity(capacity: number): void {
  if (!(capacity >= 1)) throw new Error(`KvCache: capacity must be 1 or more tokens, got ${capacity}.`);
}

function refuseOverflow(total: number, capacity: number): void {
  if (total <= capacity) return;
  throw new Error(
    `KvCache.append: ${total} tokens do not fit a cache of ${capacity}; start a new session or shorten the prompt.`,
  );
}
