import { attendRow } from './attention';

/**
 * Attention of one token over a cache: q and o [heads, headDim], k and v [keys, kvHeads, headDim]. Grouped-query heads
 * share k and v. `scores` is room for 512 floats.
 */
export function attendOne(
  q: usize, k: usize, v: usize, o: usize, keys: i32, heads: i32, kvHeads: i32, headDim: i32, scale: f32, scores: usize,
): void {
  const row = kvHeads * headDim;
  for (let h = 0; h < heads; h++) {
    const at = (<usize>(h * headDim)) << 2;
    const group = (<usize>((h / (heads / kvHeads)) * headDim)) << 2;
    attendRow(q + at, k + group, v + group, o + at, keys, row, headDim, scale, 0, scores);
  }
}
