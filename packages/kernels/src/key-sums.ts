import type { QueryBlock } from './query-blocks.js';

/** What `KeySums` does with arrays `[batch, kvHeads, keys, headDim]`, all along the keys. Each takes its arguments. */
export interface KeyArrays<T> {
  add(a: T, b: T): T;
  /** Zeros before and behind. */
  pad(x: T, before: number, behind: number): T;
  /** Two parts, the first of `size` keys. */
  split(x: T, size: number): readonly [T, T];
  concat(parts: readonly T[]): T;
}

/**
 * Adds up what blocks of queries pass back to the keys they see. Keys that no later block sees are set aside, so a block
 * costs as much as the keys around it, not all of them.
 */
export class KeySums<T> {
  private readonly whole: T[] = [];
  private open: T | undefined;
  private from = 0;
  private to = 0;

  constructor(
    private readonly arrays: KeyArrays<T>,
    private readonly keys: number,
  ) {}

  /** Takes `part`, what the block passes to the keys of its span. */
  add({ first, end, done }: QueryBlock, part: T): void {
    const { arrays } = this;
    const to = Math.max(this.to, end);
    const padded = arrays.pad(part, first - this.from, to - end);
    this.open = this.open === undefined ? padded : arrays.add(arrays.pad(this.open, 0, to - this.to), padded);
    this.to = to;
    this.setAside(Math.min(done, to));
  }

  private setAside(done: number): void {
    if (done <= this.from || this.open === undefined) return;
    const [whole, open] = done === this.to ? [this.open, undefined] : this.arrays.split(this.open, done - this.from);
    this.whole.push(whole);
    this.open = open;
    this.from = done;
  }

  /** The sums for all keys. Caller disposes. */
  take(): T {
    const { arrays, keys } = this;
    const last = this.whole.pop()!; // the last block is done with all its keys
    return arrays.concat([...this.whole, arrays.pad(last, 0, keys - this.to)]);
  }
}
