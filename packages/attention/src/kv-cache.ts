import * as tf from '@tensorflow/tfjs-core';

/** Keys and values of the tokens seen so far, per layer: attention's working memory while decoding. */
export interface KvCache {
  /**
   * Adds the new tokens of one layer and returns all of that layer.
   *
   * @param k `[batch, seq, kvHeads, headDim]`, rotated; not disposed. @param v likewise.
   * @returns keys and values `[batch, seen + seq, kvHeads, headDim]`, owned by the cache.
   */
  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D };
  /** Tokens held, once every layer has appended. */
  readonly length: number;
  dispose(): void;
}

/** A cache that grows by concatenation. */
export class ConcatKvCache implements KvCache {
  readonly #layers = new Map<number, { k: tf.Tensor4D; v: tf.Tensor4D }>();

  /** @param capacity most tokens it will hold. */
  constructor(readonly capacity: number) {
    if (!(capacity >= 1)) throw new Error(`KvCache: capacity must be 1 or more tokens, got ${capacity}.`);
  }

  get length(): number {
    return this.#layers.get(0)?.k.shape[1] ?? 0;
  }

  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const held = this.#layers.get(layer);
    const total = (held?.k.shape[1] ?? 0) + k.shape[1];
    if (total > this.capacity) {
      throw new Error(
        `KvCache.append: ${total} tokens do not fit a cache of ${this.capacity}; start a new session or shorten the prompt.`,
      );
    }
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
      else this.#layers.set(layer, { k: keepFirst(k, length), v: keepFirst(v, length) });
      tf.dispose([k, v]);
    }
  }

  dispose(): void {
    for (const { k, v } of this.#layers.values()) tf.dispose([k, v]);
    this.#layers.clear();
  }
}

function keepFirst(held: tf.Tensor4D, length: number): tf.Tensor4D {
  return tf.keep(tf.slice4d(held, [0, 0, 0, 0], [-1, length, -1, -1]));
}
