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

/** x [n] *= factor. */
export function scale(x: usize, n: i32, factor: f32): void {
  const factors = f32x4.splat(factor);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const o = x + ((<usize>i) << 2);
    v128.store(o, f32x4.mul(v128.load(o), factors));
  }
  for (; i < n; i++) {
    const o = x + ((<usize>i) << 2);
    store<f32>(o, load<f32>(o) * factor);
  }
}
