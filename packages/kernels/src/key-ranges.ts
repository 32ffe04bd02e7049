/**
 * Which keys each query sees: query `i` of batch item `b` sees the keys `first <= j < end` at `[b * seq + i]`, and a
 * query with `first = end` sees none. Causality, sliding windows, padding, packed documents and the filled rows of a
 * cache are all such ranges, so attention has one mask and never a `[seq, keys]` matrix.
 */
export interface KeyRanges {
  /** `[batch * seq]`, each in `[0, keys]`. */
  readonly first: Int32Array;
  /** `[batch * seq]`, each in `[first, keys]`. */
  readonly end: Int32Array;
}

/** Sizes of the queries and keys of an attention. */
export interface AttentionSizes {
  readonly batch: number;
  readonly seq: number;
  readonly keys: number;
}

/** What narrows the keys that a query sees; the result is where all of it agrees. */
export interface Visibility {
  /** A query sees keys up to its own position; with more keys than queries the queries are the last ones. */
  readonly causal: boolean;
  /**
   * Most keys that a query sees, counted back from the last one that causality and `ranges` let it see: with `causal`, its
   * own position and those before it (Longformer, arXiv:2004.05150). Absent: all.
   */
  readonly window?: number;
  /** Absent: every key. */
  readonly ranges?: KeyRanges;
}

/** The ranges of padded rows: the real tokens of each row see each other, padding sees nothing and is not seen.
 *
 * @param mask `[batch * seq]` as Hugging Face's `attention_mask`: 1 for real tokens, 0 for padding before or behind them.
 * @throws when the mask has another size, other values, or padding between real tokens.
 */
export function paddingRanges(mask: ArrayLike<number>, batch: number, seq: number): KeyRanges {
  if (mask.length !== batch * seq)
    throw new Error(`paddingRanges: mask must have batch * seq = ${batch} * ${seq} entries, got ${mask.length}.`);
  const ranges = emptyRanges(batch * seq);
  for (let row = 0; row < batch; row++) {
    const { first, end } = realTokens(mask, row, seq);
    ranges.first.fill(first, row * seq + first, row * seq + end);
    ranges.end.fill(end, row * seq + first, row * seq + end);
  }
  return ranges;
}

/**
 * The ranges of documents packed one behind the other into one row: tokens see those of their own document.
 *
 * @param cumulativeLengths where documents start, and the end of the last: `[0, 5, 12]` for one of 5 and one of 7
 *   tokens (`cu_seqlens` of FlashAttention's `varlen` functions).
 * @throws when it does not start at 0 or does not grow.
 */
export function documentRanges(cumulativeLengths: readonly number[]): KeyRanges {
  const bad = cumulativeLengths.findIndex(
    (at, i) => !Number.isInteger(at) || (i === 0 ? at !== 0 : at <= cumulativeLengths[i - 1]!),
  );
  if (bad >= 0 || cumulativeLengths.length < 2) {
    throw new Error(
      `documentRanges: cumulativeLengths must be 0 and then growing whole numbers, got [${cumulativeLengths}].`,
    );
  }
  const ranges = emptyRanges(cumulativeLengths.at(-1)!);
  for (let d = 1; d < cumulativeLengths.length; d++) {
    const [start, end] = [cumulativeLengths[d - 1]!, cumulativeLengths[d]!];
    ranges.first.fill(start, start, end);
    ranges.end.fill(end, start, end);
  }
  return ranges;
}

/**
 * Where causality, window and given ranges agree.
 *
 * @throws when given ranges have another size or leave the keys, a window is no whole number of 1 or more, or causal queries have too few keys.
 */
export function visibleKeys({ causal, window, ranges }: Visibility, { batch, seq, keys }: AttentionSizes): KeyRanges {
  if (causal && keys < seq)
    throw new Error(`flashAttention: causal attention of ${seq} queries needs at least as many keys, got ${keys}.`);
  if (window !== undefined && !(Number.isInteger(window) && window >= 1))
    throw new Error(
      `flashAttention: window must be a whole number of 1 or more, got ${window}; leave it out for none.`,
    );
  if (window !== undefined && !causal && !ranges)
    throw new Error(
      'flashAttention: window counts back from the last key that a query may see, so it needs causal or ranges; set one.',
    );
  if (ranges) checkRanges(ranges, { batch, seq, keys });
  const visible = emptyRanges(batch * seq);
  for (let at = 0; at < batch * seq; at++) {
    const own = causal ? (at % seq) + 1 + keys - seq : keys;
    const end = ranges ? Math.min(own, ranges.end[at]!) : own;
    const oldest = window === undefined ? 0 : Math.max(0, end - window);
    const first = ranges ? Math.max(oldest, ranges.first[at]!) : oldest;
    visible.first[at] = Math.min(first, end);
    visible.end[at] = end;
  }
  return visible;
}

function emptyRanges(size: number): KeyRanges {
  return { first: new Int32Array(size), end: new Int32Array(size) };
}

function realTokens(mask: ArrayLike<number>, row: number, seq: number): { first: number; end: number } {
  const real: number[] = [];
  for (let i = 0; i < seq; i++) {
    const value = mask[row * seq + i]!;
    if (value !== 0 && value !== 1) throw new Error(`paddingRanges: mask must hold 0 and 1, got ${value} at ${i}.`);
    if (value === 1) real.push(i);
  }
  const [first = 0, last = -1] = [real[0], real.at(-1)];
  if (real.length !== last + 1 - first) {
    throw new Error(
      `paddingRanges: row ${row} has padding between real tokens; pad before or behind them, or pack documents (documentRanges).`,
    );
  }
  return { first, end: last + 1 };
}

function checkRanges({ first, end }: KeyRanges, { batch, seq, keys }: AttentionSizes): void {
  if (first.length !== batch * seq || end.length !== batch * seq) {
    throw new Error(
      `flashAttention: ranges must have batch * seq = ${batch} * ${seq} entries, got first ${first.length} and end ${end.length}.`,
    );
  }
  const bad = first.findIndex((from, at) => !(0 <= from && from <= end[at]! && end[at]! <= keys));
  if (bad < 0) return;
  throw new Error(
    `flashAttention: ranges at ${bad} are ${first[bad]} to ${end[bad]}, expected 0 <= first <= end <= ${keys} keys.`,
  );
}
