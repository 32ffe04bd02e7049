import * as tf from '@tensorflow/tfjs-core';
import type { SequenceCache } from '@therapeutic-moe/router';

type Held = { readonly k: tf.Tensor4D; readonly v: tf.Tensor4D };

/** How many rows a cache held under each key. */
export type CacheMark = ReadonlyMap<string, number>;

/**
 * Keys and values of levels of attention, routers and experts that look along the sequence, kept while decoding. Grows by
 * concatenation.
 */
export class ConcatSequenceCache implements SequenceCache {
  readonly #held = new Map<string, Held>();

  get isEmpty(): boolean {
    return this.#held.size === 0;
  }

  append(key: string, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const held = this.#held.get(key);
    const grown = {
      k: tf.keep(held ? tf.concat4d([held.k, k], 1) : tf.clone(k)),
      v: tf.keep(held ? tf.concat4d([held.v, v], 1) : tf.clone(v)),
    };
    this.#replace(key, grown);
    return grown;
  }

  /** The same rows in a second cache, so that both can go on from here. */
  fork(): ConcatSequenceCache {
    const copy = new ConcatSequenceCache();
    for (const [key, { k, v }] of this.#held) copy.#held.set(key, { k: tf.keep(tf.clone(k)), v: tf.keep(tf.clone(v)) });
    return copy;
  }

  /** What `rollBack` goes back to. */
  mark(): CacheMark {
    return new Map([...this.#held].map(([key, { k }]) => [key, k.shape[1]]));
  }

  /** Forgets what was added since a mark: takes back a pass that failed half-way. */
  rollBack(mark: CacheMark): void {
    for (const [key, { k, v }] of this.#held) {
      const rows = mark.get(key) ?? 0;
      if (rows === k.shape[1]) continue;
      const first = (rest: tf.Tensor4D) => tf.keep(tf.slice4d(rest, [0, 0, 0, 0], [-1, rows, -1, -1]));
      this.#replace(key, rows > 0 ? { k: first(k), v: first(v) } : undefined);
    }
  }

  dispose(): void {
    for (const key of this.#held.keys()) this.#replace(key, undefined);
  }

  #replace(key: string, next: Held | undefined): void {
    const held = this.#held.get(key);
    if (held) tf.dispose([held.k, held.v]);
    if (next) this.#held.set(key, next);
    else this.#held.delete(key);
  }
}

/** The part of a cache that belongs to one layer. */
export function layerCache(cache: SequenceCache, layer: number): SequenceCache {
  return { append: (key, k, v) => cache.append(`layers.${layer}.${key}`, k, v) };
}
