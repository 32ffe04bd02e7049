import * as tf from '@tensorflow/tfjs-core';
import type { CachedKeys } from './kv-cache.js';

/**
 * Keys and values of the newest tokens that a cache holds.
 *
 * @param seen what the cache returned for `seq` new tokens. @param earlier how many tokens before these to return too.
 * @returns `[batch, earlier + seq, kvHeads, headDim]` each. Caller disposes.
 * @throws when the rows of the batch have different lengths or padding, or the cache no longer has the earlier tokens.
 */
export function newestRows(seen: CachedKeys, seq: number, earlier: number): { k: tf.Tensor4D; v: tf.Tensor4D } {
  const start = firstNewRow(seen, seq) - earlier;
  checkKept(seen, seq, { start, earlier });
  const newest = (rows: tf.Tensor4D) => tf.slice4d(rows, [0, start, 0, 0], [-1, earlier + seq, -1, -1]);
  return { k: newest(seen.k), v: newest(seen.v) };
}

/** The row of the first new token, which must be the same in the whole batch: a token is the last that it sees itself. */
function firstNewRow({ k, ranges }: CachedKeys, seq: number): number {
  if (!ranges) return k.shape[1] - seq;
  const own = ranges.end[0]! - 1;
  const other = ranges.end.findIndex((end, at) => end !== own + 1 + (at % seq));
  if (other < 0) return own;
  throw new Error(
    `multi-level attention: the cache puts token ${other % seq} of batch row ${Math.floor(other / seq)} at ${ranges.end[other]! - 1}, expected ${own + (other % seq)}; rows of different lengths or with padding need a cache each.`,
  );
}

function checkKept({ ranges }: CachedKeys, seq: number, { start, earlier }: { start: number; earlier: number }): void {
  const oldest = ranges ? ranges.first.filter((_, at) => at % seq === 0).reduce((a, b) => Math.max(a, b)) : 0;
  if (oldest <= start) return;
  throw new Error(
    `multi-level attention: the ${earlier} tokens of an unfinished block begin at row ${start}, but the cache shows rows from ${oldest} on; let it keep more tokens.`,
  );
}
