import { softmaxRow } from './attention';
import { gemvColumns, gemvRows } from './gemv';

/**
 * Attention of one token over a cache: q and o [heads, headDim], k and v [keys, kvHeads, headDim]. Grouped-query heads
 * share k and v. `scores` is room for `keys` floats.
 */
export function attendOne(
  q: usize, k: usize, v: usize, o: usize, keys: i32, heads: i32, kvHeads: i32, headDim: i32, scale: f32, scores: usize,
): void {
  const row = kvHeads * headDim;
  for (let h = 0; h < heads; h++) {
    const at = (<usize>(h * headDim)) << 2;
    const group = (<usize>((h / (heads / kvHeads)) * headDim)) << 2;
    gemvColumns(keys, headDim, q + at, k + group, row, scores);
    softmaxRow(scores, keys, keys, scale);
    gemvRows(headDim, keys, scores, v + group, row, o + at, false);
  }
}
