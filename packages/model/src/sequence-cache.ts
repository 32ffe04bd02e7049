import * as tf from '@tensorflow/tfjs-core';
import type { SequenceCache } from '@therapeutic-moe/router';

/** What is kept under one key. */
interface Held {
  readonly k: tf.Tensor4D;
  readonly v: tf.Tensor4D;
  /** How many rows the next pass needs. */
  readonly needed: number;
  /** How many rows before these are gone. */
  readonly dropped: number;
}

/** How many rows a cache had taken in under each key. */
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

  /** What its tensors take. */
  get bytes(): number {
    return [...this.#held.values()].reduce((sum, { k, v }) => sum + 4 * (k.size + v.size), 0);
  }

  append(
    key: string,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    needed = Number.POSITIVE_INFINITY,
  ): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const held = this.#held.get(key);
    if (held && k.shape[1] === 0) return held;
    const grown = {
      k: tf.keep(held ? tf.concat4d([held.k, k], 1) : tf.clone(k)),
      v: tf.keep(held ? tf.concat4d([held.v, v], 1) : tf.clone(v)),
      needed,
      dropped: held?.dropped ?? 0,
    };
    this.#replace(key, grown);
    return grown;
  }

  /** The same rows in a second cache, so that both can go on from here. */
  fork(): ConcatSequenceCache {
    const copy = new ConcatSequenceCache();
    for (const [key, { k, v, ...counts }] of this.#held)
      copy.#held.set(key, { k: tf.keep(tf.clone(k)), v: tf.keep(tf.clone(v)), ...counts });
    return copy;
  }

  /** What `rollBack` goes back to, and `settle` up to. */
  mark(): CacheMark {
    return new Map([...this.#held].map(([key, { k, dropped }]) => [key, dropped + k.shape[1]]));
  }

  /** Forgets what was added since a mark: takes back a pass that failed half-way. */
  rollBack(mark: CacheMark): void {
    for (const [key, held] of this.#held) {
      const rows = (mark.get(key) ?? 0) - held.dropped;
      if (rows < held.k.shape[1]) this.#replace(key, rows > 0 ? part(held, 0, rows) : undefined);
    }
  }

  /** Drops rows that no pass behind a mark needs: what was taken in up to there stands. */
  settle(mark: CacheMark): void {
    for (const [key, held] of this.#held) {
      const rows = held.k.shape[1];
      const gone = Math.min(rows, (mark.get(key) ?? 0) - held.dropped) - held.needed;
      if (gone > 0) this.#replace(key, { ...part(held, gone, rows - gone), dropped: held.dropped + gone });
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

/** Some of the rows, in memory of their own. */
function part({ k, v, ...counts }: Held, from: number, rows: number): Held {
  const cut = (all: tf.Tensor4D) => tf.keep(tf.slice4d(all, [0, from, 0, 0], [-1, rows, -1, -1]));
  return { k: cut(k), v: cut(v), ...counts };
}

/** The part of a cache that belongs to one layer. */
export function layerCache(cache: SequenceCache, layer: number): SequenceCache {
  return { append: (key, k, v, needed) => cache.append(`layers.${layer}.${key}`, k, v, needed) };
}
