import { PairQueue } from './pair-queue.js';

/** Ids stay below this, so a pair of them is one exact number. */
const PAIR_BASE = 2 ** 26;

interface Word {
  readonly ids: number[];
  readonly count: number;
}

/**
 * Learns byte-pair merges from counted words (Sennrich et al., arXiv:1508.07909). Each merge visits only the words
 * that hold its pair, and adjusts only the counts beside it. Ties are broken by the smaller ids, so the same counts
 * always give the same merges, and the same as Hugging Face's `BpeTrainer`.
 */
export class MergeLearner {
  private readonly words: Word[];
  private readonly counts = new Map<number, number>();
  private readonly places = new Map<number, number[]>();
  private readonly queue = new PairQueue();

  /** @param words token ids of each distinct word, and how often it occurs. The arrays are merged in place. */
  constructor(words: Iterable<Word>) {
    this.words = [...words];
    this.words.forEach(({ ids, count }, index) => {
      for (let i = 1; i < ids.length; i++) this.count(ids[i - 1], ids[i], count, index);
    });
    for (const pair of this.places.keys()) this.enqueue(pair);
  }

  private enqueue(pair: number): void {
    const count = this.counts.get(pair)!;
    if (count > 0) this.queue.push({ left: Math.floor(pair / PAIR_BASE), right: pair % PAIR_BASE, count });
  }

  /** Adds to a pair's count; a pair that grows in a word is looked for there later. */
  private count(left: number, right: number, change: number, word: number): number {
    const pair = left * PAIR_BASE + right;
    this.counts.set(pair, (this.counts.get(pair) ?? 0) + change);
    if (change > 0) {
      const places = this.places.get(pair);
      if (!places) this.places.set(pair, [word]);
      else if (places.at(-1) !== word) places.push(word);
    }
    return pair;
  }

  /** The most frequent pair now, or undefined if none is seen at least `minFrequency` times. */
  next(minFrequency: number): { left: number; right: number; count: number } | undefined {
    for (;;) {
      const top = this.queue.pop();
      if (!top) return undefined;
      const count = this.counts.get(top.left * PAIR_BASE + top.right)!;
      if (count === top.count) return count >= minFrequency ? top : undefined;
      if (count > 0) this.queue.push({ ...top, count });
    }
  }

  /** Replaces a pair by one token wherever it occurs, leftmost first. */
  merge(left: number, right: number, token: number): void {
    const pair = left * PAIR_BASE + right;
    const places = this.places.get(pair) ?? [];
    this.places.delete(pair);
    const grown = new Set<number>();
    for (const index of places) this.mergeInWord(index, left, right, token, grown);
    for (const changed of grown) this.enqueue(changed);
  }

  private mergeInWord(index: number, left: number, right: number, token: number, grown: Set<number>): void {
    const { ids, count } = this.words[index];
    let kept = 0;
    for (let i = 0; i < ids.length; i++) {
      if (ids[i] !== left || i + 1 >= ids.length || ids[i + 1] !== right) {
        ids[kept++] = ids[i];
        continue;
      }
      if (kept > 0) {
        this.count(ids[kept - 1], left, -count, index);
        grown.add(this.count(ids[kept - 1], token, count, index));
      }
      if (i + 2 < ids.length) {
        this.count(right, ids[i + 2], -count, index);
        grown.add(this.count(token, ids[i + 2], count, index));
      }
      ids[kept++] = token;
      i++;
    }
    ids.length = kept;
  }
}
