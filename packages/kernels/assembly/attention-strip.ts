import { micro, packEights, transpose4 } from './gemm';

// Attention works on strips of eight queries that lie side by side in two vectors, and on tiles of keys: a strip's scores
// are `[keys, 8]`, so a maximum or a sum over keys is a row of vector operations, and the scores are at once the packed
// right-hand side of the product with the values.

/** Queries of a block: each tile of keys is packed once for them. */
export const BLOCK: i32 = 256;
/** Keys of a tile. */
export const TILE: i32 = 128;
/** Queries of a strip. */
export const STRIP: i32 = 8;
/** Bytes of eight floats: one row of anything that a strip has. */
export const ROW: i32 = 32;

export const LOG2E: f32 = 1.44269504;
export const LN2: f64 = 0.6931471805599453;

/** What no score reaches: the maximum of a query before its first key. */
export const LOWEST: f32 = -1e30;
const UNSEEN: f32 = -f32.MAX_VALUE;

/** What one strip of queries sees, and what of its softmax is known. Lies in scratch. */
@unmanaged
export class Strip {
  /** Per query, the first key that it sees and the end of these, int32. */
  first0: v128;
  first1: v128;
  end0: v128;
  end1: v128;
  /** Forward the largest score so far, backward the log-sum-exp; in base 2. */
  top0: v128;
  top1: v128;
  /** Forward the sum of the shares so far, backward dO . O. */
  sum0: v128;
  sum1: v128;
  /** Keys from `low` to `high` are seen by some query of the strip, from `innerLow` to `innerHigh` by all. */
  low: i32;
  high: i32;
  innerLow: i32;
  innerHigh: i32;
}

/** Bytes of a `Strip`. */
export const STRIP_BYTES: i32 = 144;

/** Reads the ranges of `count` queries, the last of them again for lanes that have none. */
export function readRanges(strip: Strip, first: usize, end: usize, count: i32): void {
  const at = changetype<usize>(strip);
  strip.low = i32.MAX_VALUE;
  strip.high = 0;
  strip.innerLow = 0;
  strip.innerHigh = i32.MAX_VALUE;
  for (let i = 0; i < STRIP; i++) {
    const query = (<usize>min(i, count - 1)) << 2;
    const from = load<i32>(first + query);
    const to = load<i32>(end + query);
    store<i32>(at + ((<usize>i) << 2), from, offsetof<Strip>('first0'));
    store<i32>(at + ((<usize>i) << 2), to, offsetof<Strip>('end0'));
    if (from < to) {
      strip.low = min(strip.low, from);
      strip.high = max(strip.high, to);
    }
    strip.innerLow = max(strip.innerLow, from);
    strip.innerHigh = min(strip.innerHigh, to);
  }
}

/** Packs `count` rows of `headDim` floats, `stride` bytes apart, into `[headDim, 8]`, times `scale`. */
export function packStrip(x: usize, stride: usize, count: i32, headDim: i32, scale: f32, out: usize): void {
  packEights(x, stride, 4, count, headDim, out);
  scaleRows(out, headDim, f32x4.splat(scale), f32x4.splat(scale));
}

/** Rows of eight floats, each times the same eight. */
// @ts-ignore: decorator
@inline
export function scaleRows(x: usize, rows: i32, by0: v128, by1: v128): void {
  const stop = x + <usize>rows * ROW;
  for (; x < stop; x += ROW) {
    v128.store(x, f32x4.mul(v128.load(x), by0));
    v128.store(x, f32x4.mul(v128.load(x, 16), by1), 16);
  }
}

/** `out [rows, 8] (+)= A B`, for `a` in panels of four rows `[depth, 4]`, `panelBytes` apart, and `b [depth, 8]`. */
// @ts-ignore: decorator
@inline
export function multiplyPanels(
  a: usize, panelBytes: usize, rows: i32, depth: i32, b: usize, out: usize, accumulate: bool,
): void {
  for (let i = 0; i < rows; i += 4) {
    micro(depth, a, b, out, ROW, accumulate);
    a += panelBytes;
    out += 4 * ROW;
  }
}

/**
 * The scores of a strip with `rows` keys from `key` on, `[rows, 8]` in base 2: less by `slope` for each position back,
 * and lowest where a query does not see the key. `q` is `[headDim, 8]`, scaled; `k` in panels of four keys.
 */
// @ts-ignore: decorator
@inline
export function stripScores(
  strip: Strip, q: usize, k: usize, headDim: i32, key: i32, rows: i32, slope: f32, scores: usize,
): void {
  multiplyPanels(k, (<usize>headDim) << 4, rows, headDim, q, scores, false);
  if (slope != 0) addSlope(strip, key, rows, slope, scores);
  if (key < strip.innerLow || key + rows > strip.innerHigh) hideUnseen(strip, key, rows, scores);
}

function addSlope(strip: Strip, key: i32, rows: i32, slope: f32, scores: usize): void {
  const last0 = i32x4.sub(strip.end0, i32x4.splat(1));
  const last1 = i32x4.sub(strip.end1, i32x4.splat(1));
  const slopes = f32x4.splat(slope * LOG2E);
  const stop = key + rows;
  for (; key < stop; key++) {
    const at = i32x4.splat(key);
    const back0 = f32x4.convert_i32x4_s(i32x4.sub(at, last0));
    const back1 = f32x4.convert_i32x4_s(i32x4.sub(at, last1));
    v128.store(scores, f32x4.add(v128.load(scores), f32x4.mul(back0, slopes)));
    v128.store(scores, f32x4.add(v128.load(scores, 16), f32x4.mul(back1, slopes)), 16);
    scores += ROW;
  }
}

function hideUnseen(strip: Strip, key: i32, rows: i32, scores: usize): void {
  const unseen = f32x4.splat(UNSEEN);
  const stop = key + rows;
  for (; key < stop; key++) {
    const at = i32x4.splat(key);
    const seen0 = v128.and(i32x4.ge_s(at, strip.first0), i32x4.lt_s(at, strip.end0));
    const seen1 = v128.and(i32x4.ge_s(at, strip.first1), i32x4.lt_s(at, strip.end1));
    v128.store(scores, v128.bitselect(v128.load(scores), unseen, seen0));
    v128.store(scores, v128.bitselect(v128.load(scores, 16), unseen, seen1), 16);
    scores += ROW;
  }
}

/** Writes `count` columns of `x [headDim, 8]` as rows of `headDim` floats, `stride` bytes apart. */
export function unpackStrip(x: usize, headDim: i32, count: i32, out: usize, stride: usize): void {
  const whole = headDim & -4;
  for (let i = 0; i < count; i += 4) {
    const column = x + ((<usize>i) << 2);
    const row = out + <usize>i * stride;
    if (count - i < 4) {
      for (let r = i; r < count; r++) unpackRow(x + ((<usize>r) << 2), 0, headDim, out + <usize>r * stride);
      return;
    }
    for (let d = 0; d < whole; d += 4) {
      const p = column + <usize>d * ROW;
      transpose4(
        v128.load(p), v128.load(p, ROW), v128.load(p, 2 * ROW), v128.load(p, 3 * ROW), row + ((<usize>d) << 2), stride,
      );
    }
    for (let r: usize = 0; r < 4; r++) unpackRow(column + (r << 2), whole, headDim, row + r * stride);
  }
}

// @ts-ignore: decorator
@inline
function unpackRow(column: usize, from: i32, headDim: i32, row: usize): void {
  for (let d = from; d < headDim; d++) store<f32>(row + ((<usize>d) << 2), load<f32>(column + <usize>d * ROW));
}
