import type * as tf from '@tensorflow/tfjs-core';
import type { KeyRanges } from '@therapeutic-moe/kernels';
import { type CacheRows, Float32Rows } from './cache-rows.js';
import { Int8Rows } from './int8-rows.js';
import {
  type CachedKeys,
  checkCapacity,
  checkTruncate,
  type KvCache,
  type KvRoom,
  refuseOverflow,
} from './kv-cache.js';

/** How a cache keeps its numbers. */
export type KvDtype = 'float32' | 'int8';

/** What a `PreallocatedKvCache` is made for. */
export interface KvCacheOptions {
  /** Most tokens of a row, dropped ones included. */
  readonly capacity: number;
  /** Most tokens that a token sees, itself included; older ones are dropped. Absent: all are kept. */
  readonly window?: number;
  /** `int8` takes about a quarter of the memory (`headDim + 4` bytes for `4 headDim`) and is not exact. Default `float32`. */
  readonly dtype?: KvDtype;
  /** Rows that it has room for at first; the room doubles as they fill. Default: all that it will ever need. */
  readonly initialRoom?: number;
}

/** One layer of a cache. The rows of item `b` are its tokens from `dropped[b]` on. */
interface Layer {
  readonly k: CacheRows;
  readonly v: CacheRows;
  /** `[batch, _, kvHeads, headDim]`. */
  readonly shape: readonly number[];
  room: number;
  /** `[batch]`: tokens taken in. */
  lengths: number[];
  /** `[batch]`: how many of them are gone. */
  dropped: number[];
}

/**
 * A cache with room for tokens to come, written in place: a token costs no copy of those before it. Rows of a batch may
 * have different lengths. With a window, tokens are written on until the room, twice the window, is full; then those that
 * are still seen move to its front. So its memory does not grow with the text (Mistral's rolling cache, arXiv:2310.06825,
 * with its rows in order). A longer piece at once takes the room it needs until the next.
 */
export class PreallocatedKvCache implements KvCache {
  readonly #layers = new Map<number, Layer>();

  constructor(private readonly options: KvCacheOptions) {
    const { capacity, window, dtype = 'float32', initialRoom } = options;
    checkCapacity(capacity);
    if (!Number.isInteger(capacity))
      throw new Error(`KvCache: capacity must be a whole number of tokens, got ${capacity}; rows are made for it.`);
    if (window !== undefined && !(Number.isInteger(window) && window >= 1))
      throw new Error(`KvCache: window must be a whole number of 1 or more, got ${window}; leave it out for none.`);
    if (dtype !== 'float32' && dtype !== 'int8')
      throw new Error(`KvCache: dtype must be float32 or int8, got '${String(dtype)}'.`);
    if (initialRoom !== undefined && !(Number.isInteger(initialRoom) && initialRoom >= 1))
      throw new Error(`KvCache: initialRoom must be a whole number of 1 or more, got ${initialRoom}.`);
  }

  get length(): number {
    return Math.max(0, ...this.lengths);
  }

  /** `[batch]`: tokens taken in, of each row; empty before the first. */
  get lengths(): readonly number[] {
    return this.#layers.get(0)?.lengths ?? [];
  }

  /** What its tensors take. */
  get bytes(): number {
    return [...this.#layers.values()].reduce((sum, { k, v }) => sum + k.bytes + v.bytes, 0);
  }

  append(layer: number, k: tf.Tensor4D, v: tf.Tensor4D, newTokens?: readonly number[]): CachedKeys {
    const [batch, seq] = k.shape;
    const counts = newTokens ?? new Array<number>(batch).fill(seq);
    const held = this.#layerFor(layer, k, v, counts);
    this.#makeRoom(held, seq);
    const starts = usedRows(held);
    held.k.write(k, starts);
    held.v.write(v, starts);
    held.lengths = held.lengths.map((length, item) => length + counts[item]!);
    return this.#seen(held, starts, seq, counts);
  }

  reserve(layer: number, shape: readonly [kvHeads: number, headDim: number]): KvRoom | undefined {
    const { capacity, window, dtype } = this.options;
    const held = this.#layers.get(layer) ?? this.#emptyLayer([1, 0, ...shape]);
    if (dtype === 'int8' || held.shape[0] !== 1) return undefined;
    refuseOverflow(held.lengths[0]! + 1, capacity);
    this.#layers.set(layer, held);
    this.#makeRoom(held, 1);
    const position = usedRows(held)[0]!;
    held.lengths = [held.lengths[0]! + 1];
    return { k: held.k.floats!, v: held.v.floats!, position, ...(window !== undefined && { window }) };
  }

  /** Whether all that a token behind the first `length` tokens sees is still there. */
  reaches(length: number): boolean {
    return [...this.#layers.values()].every(({ lengths, dropped }) =>
      dropped.every((gone, item) => {
        const end = Math.min(length, lengths[item]!);
        const oldest = this.#oldestSeen(end);
        return oldest >= end || gone <= oldest; // none is seen, or all that are
      }),
    );
  }

  /**
   * Forgets all but the first `length` tokens of each row, in every layer.
   *
   * @throws when a window has dropped tokens that would be seen again.
   */
  truncate(length: number): void {
    checkTruncate(length);
    if (!this.reaches(length)) {
      throw new Error(
        `KvCache.truncate: tokens that are seen from position ${length} have left the window of ${this.options.window}; start a new session.`,
      );
    }
    for (const held of this.#layers.values()) {
      held.lengths = held.lengths.map((each) => Math.min(each, length));
      held.dropped = held.dropped.map((gone, item) => Math.min(gone, held.lengths[item]!));
    }
  }

  /** A second cache with the same tokens in memory of its own, so that both can go on from here. */
  fork(): PreallocatedKvCache {
    const copy = new PreallocatedKvCache(this.options);
    for (const [layer, held] of this.#layers) copy.#layers.set(layer, { ...held, k: held.k.fork(), v: held.v.fork() });
    return copy;
  }

  dispose(): void {
    for (const { k, v } of this.#layers.values()) {
      k.dispose();
      v.dispose();
    }
    this.#layers.clear();
  }

  #layerFor(layer: number, k: tf.Tensor4D, v: tf.Tensor4D, counts: readonly number[]): Layer {
    const [batch, seq, kvHeads, headDim] = k.shape;
    const known = this.#layers.get(layer);
    const [, , ...wanted] = known?.shape ?? k.shape;
    const fits = [kvHeads, headDim].join() === wanted.join() && batch === (known?.shape[0] ?? batch);
    if (!fits || v.shape.join() !== k.shape.join()) {
      throw new Error(
        `KvCache.append: k and v must be [${known?.shape[0] ?? batch}, seq, ${wanted.join(', ')}], got [${k.shape}] and [${v.shape}].`,
      );
    }
    const bad = counts.findIndex((count) => !(Number.isInteger(count) && count >= 0 && count <= seq));
    if (counts.length !== batch || bad >= 0)
      throw new Error(`KvCache.append: newTokens must be ${batch} numbers from 0 to ${seq}, got [${counts}].`);
    const longest = Math.max(...counts.map((count, item) => (known?.lengths[item] ?? 0) + count));
    refuseOverflow(longest, this.options.capacity);
    const held = known ?? this.#emptyLayer(k.shape);
    this.#layers.set(layer, held);
    return held;
  }

  /** A layer without room yet. */
  #emptyLayer([batch, , ...rest]: readonly number[]): Layer {
    const rows = () => (this.options.dtype === 'int8' ? Int8Rows : Float32Rows).empty([batch!, 0, ...rest]);
    const none = new Array<number>(batch!).fill(0);
    return { k: rows(), v: rows(), shape: [batch!, 0, ...rest], room: 0, lengths: none, dropped: none };
  }

  /** Sees to it that `seq` more rows fit every item; with a window, rows that no later token sees make place. */
  #makeRoom(held: Layer, seq: number): void {
    const used = usedRows(held);
    const most = this.#mostRoom();
    if (Math.max(...used) + seq <= held.room && held.room <= most) return;
    const from = held.lengths.map((length, item) => Math.max(0, this.#oldestSeen(length) - held.dropped[item]!));
    const count = Math.max(...used.map((rows, item) => rows - from[item]!));
    const needed = count + seq;
    const room = Math.max(needed, Math.min(most, Math.max(2 * needed, this.options.initialRoom ?? most)));
    for (const rows of [held.k, held.v]) rows.move(from, count, room);
    held.room = room;
    held.dropped = held.dropped.map((gone, item) => gone + from[item]!);
  }

  #mostRoom(): number {
    const { capacity, window = Number.POSITIVE_INFINITY } = this.options;
    return Math.min(capacity, 2 * window);
  }

  /** The first token that the next one sees. */
  #oldestSeen(length: number): number {
    return Math.max(0, length + 1 - (this.options.window ?? Number.POSITIVE_INFINITY));
  }

  #seen(held: Layer, starts: readonly number[], seq: number, counts: readonly number[]): CachedKeys {
    const used = Math.max(...usedRows(held));
    const [k, v] = [held.k.read(used), held.v.read(used)];
    const isPlain = this.options.window === undefined && starts.every((start) => start + seq === k.shape[1]);
    if (isPlain && counts.every((count) => count === seq)) return { k, v };
    return { k, v, ranges: this.#ranges(starts, seq, counts) };
  }

  #ranges(starts: readonly number[], seq: number, counts: readonly number[]): KeyRanges {
    const { window = Number.POSITIVE_INFINITY } = this.options;
    const [first, end] = [new Int32Array(starts.length * seq), new Int32Array(starts.length * seq)];
    for (const [item, start] of starts.entries()) {
      for (let i = 0; i < counts[item]!; i++) {
        end[item * seq + i] = start + i + 1;
        first[item * seq + i] = Math.max(0, start + i + 1 - window);
      }
    }
    return { first, end };
  }
}

/** `[batch]`: rows that hold tokens. */
function usedRows({ lengths, dropped }: Layer): number[] {
  return lengths.map((length, item) => length - dropped[item]!);
}
