import * as tf from '@tensorflow/tfjs-core';
import { type CachedKeys, checkCapacity, checkTruncate, type KvCache, refuseOverflow } from './kv-cache.js';

/** The plain cache: it grows by concatenation, so every token copies those before it. */
export class ConcatKvCache implements KvCache {
  readonly #layers = new Map<number, { k: tf.Tensor4D; v: tf.Tensor4D }>();

  /** @param capacity most tokens it will hold. */
  constructor(readonly capacity: number) {
    checkCapacity(capacity);
  }

  get length(): number {
    return this.#layers.get(0)?.k.shape[1] ?? 0;
  }

  /** @throws also when a row has padding, which would lie between tokens. */
  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D, newTokens?: readonly number[]): CachedKeys {
    if (newTokens?.some((count) => count !== k.shape[1]))
      throw new Error('ConcatKvCache.append: rows must have one length; use a PreallocatedKvCache for others.');
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

  /** Forgets all but the first `length` tokens of every layer. */
  truncate(length: number): void {
    checkTruncate(length);
    for (const [layer, { k, v }] of this.#layers) {
      if (k.shape[1] <= length) continue;
      const first = (held: tf.Tensor4D) => tf.keep(tf.slice4d(held, [0, 0, 0, 0], [-1, length, -1, -1]));
      if (length === 0) this.#layers.delete(layer);
      else this.#layers.set(layer, { k: first(k), v: first(v) });
      tf.dispose([k, v]);
    }
  }

  dispose(): void {
    for (const { k, v } of this.#layers.values()) tf.dispose([k, v]);
    this.#layers.clear();
  }
}
