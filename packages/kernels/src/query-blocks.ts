import type { AttentionSizes, KeyRanges } from './key-ranges.js';

/** Scores that are computed at once, where a block can be made small enough. */
const SCORES_AT_ONCE = 1 << 23;

/** Queries of a block, at most. */
const MOST_QUERIES = 256;

/** Queries that a block may have whatever it sees; more only up to an eighth of its keys, for masks hide half of so many. */
const FEW_QUERIES = 128;

/** Queries of a block, at least: with fewer, a product of the block reads keys and multiplies little. */
const LEAST_QUERIES = 16;

/** Added to the score of a key that a query does not see: its exponential is 0. */
export const UNSEEN = -1e9;

/**
 * Consecutive queries of all batch items and the keys that any of them sees, `first <= j < end`. Attention by such blocks
 * never holds more than `batch * heads * queries * (end - first)` scores, which is linear in the keys.
 */
export interface QueryBlock {
  readonly start: number;
  readonly queries: number;
  readonly first: number;
  readonly end: number;
  /** No later block sees a key before this one. */
  readonly done: number;
  /** What its queries do not see of its keys: `tail` is causality alone, each query one key more, the last one all. */
  readonly hides: 'nothing' | 'tail' | 'ranges';
  /** Whether a query among them sees no key at all. */
  readonly blind: boolean;
}

/** Sizes of an attention, heads included. */
export interface HeadedSizes extends AttentionSizes {
  readonly heads: number;
}

type Span = Pick<QueryBlock, 'start' | 'queries' | 'first' | 'end' | 'blind'>;

/** Cuts the queries into blocks. */
export function queryBlocks(visible: KeyRanges, sizes: HeadedSizes): QueryBlock[] {
  const spans: Span[] = [];
  for (let start = 0; start < sizes.seq; start += spans.at(-1)!.queries) spans.push(nextSpan(visible, sizes, start));
  const blocks: QueryBlock[] = [];
  let done = sizes.keys;
  for (const span of spans.reverse()) {
    blocks.push({ ...span, done, hides: hidden(visible, sizes, span) });
    done = Math.min(done, span.first);
  }
  return blocks.reverse();
}

function nextSpan(visible: KeyRanges, sizes: HeadedSizes, start: number): Span {
  for (let most = MOST_QUERIES; ; most /= 2) {
    const span = spanOf(visible, sizes, start, Math.min(most, sizes.seq - start));
    if (span.queries <= mostFor(span.end - span.first, sizes)) return span;
  }
}

function mostFor(keys: number, { batch, heads }: HeadedSizes): number {
  const fitting = Math.floor(SCORES_AT_ONCE / (batch * heads * keys));
  return Math.max(LEAST_QUERIES, Math.min(fitting, Math.max(FEW_QUERIES, keys / 8)));
}

/** Where no query sees anything, one key stands in, hidden from all, so that no product is empty. */
function spanOf(visible: KeyRanges, { batch, seq, keys }: HeadedSizes, start: number, queries: number): Span {
  let [first, end, blind] = [keys, 0, false];
  for (let b = 0; b < batch; b++) {
    for (let at = b * seq + start; at < b * seq + start + queries; at++) {
      const [from, to] = [visible.first[at]!, visible.end[at]!];
      if (from === to) blind = true;
      else [first, end] = [Math.min(first, from), Math.max(end, to)];
    }
  }
  return first < end ? { start, queries, first, end, blind } : { start, queries, first: keys - 1, end: keys, blind };
}

function hidden(visible: KeyRanges, { batch, seq }: HeadedSizes, span: Span): QueryBlock['hides'] {
  let [nothing, tail] = [true, span.end - span.first >= span.queries];
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < span.queries; i++) {
      const at = b * seq + span.start + i;
      const fromFirst = visible.first[at] === span.first;
      nothing &&= fromFirst && visible.end[at] === span.end;
      tail &&= fromFirst && visible.end[at] === span.end - span.queries + 1 + i;
    }
  }
  return nothing ? 'nothing' : tail ? 'tail' : 'ranges';
}

/** `[batch, queries, end - first]`: 0 where a query of the block sees a key, else `UNSEEN`. */
export function hiddenKeys(visible: KeyRanges, sizes: AttentionSizes, block: Span): Float32Array {
  const width = block.end - block.first;
  const mask = new Float32Array(sizes.batch * block.queries * width).fill(UNSEEN);
  eachQuery(sizes, block, (row, at) => {
    const end = visible.end[at]!;
    if (end > visible.first[at]!)
      mask.fill(0, row * width + visible.first[at]! - block.first, row * width + end - block.first);
  });
  return mask;
}

/** `[batch, queries]`: 1 for the queries of the block that see a key, else 0. */
export function seeingQueries(visible: KeyRanges, sizes: AttentionSizes, block: Span): Float32Array {
  const sees = new Float32Array(sizes.batch * block.queries);
  eachQuery(sizes, block, (row, at) => {
    sees[row] = Number(visible.end[at]! > visible.first[at]!);
  });
  return sees;
}

/** `[batch, queries, end - first]`: how far a key lies behind the last one that the query sees, negative. */
export function keyDistances(visible: KeyRanges, sizes: AttentionSizes, block: Span): Float32Array {
  const width = block.end - block.first;
  const distances = new Float32Array(sizes.batch * block.queries * width);
  eachQuery(sizes, block, (row, at) => {
    const last = visible.end[at]! - 1 - block.first;
    for (let j = 0; j < width; j++) distances[row * width + j] = j - last;
  });
  return distances;
}

function eachQuery(
  { batch, seq }: AttentionSizes,
  { start, queries }: Span,
  visit: (row: number, at: number) => void,
): void {
  for (let b = 0; b < batch; b++) for (let i = 0; i < queries; i++) visit(b * queries + i, b * seq + start + i);
}
