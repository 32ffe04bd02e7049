/** Natural logarithm of the host: AssemblyScript's own brings lookup tables, and this module must own no memory. */
// @ts-ignore: decorator
@external('env', 'log')
declare function log(x: f64): f64;

import {
  BLOCK, LN2, LOG2E, LOWEST, multiplyPanels, packStrip, readRanges, ROW, scaleRows, STRIP, STRIP_BYTES, Strip, stripScores,
  TILE, unpackStrip,
} from './attention-strip';
import { packFours } from './gemm';
import { gemvColumns, gemvRows } from './gemv';
import { exp1, exp2Share, exp4, max4, maxLanes, sumLanes } from './vector';

/** Keys that a single query takes at once. */
const ONCE: i32 = 512;

/** Bytes of scratch for `attention`: it does not grow with the number of keys. */
export function attentionScratchBytes(headDim: i32): i32 {
  const padded = (headDim + 3) & -4;
  const strips = (BLOCK / STRIP) * (STRIP_BYTES + 2 * padded * ROW);
  return max(strips + TILE * (2 * padded * 4 + ROW), ONCE * 4);
}

/**
 * Exact attention of `queries` queries of one head by online softmax over tiles of keys (FlashAttention-2,
 * arXiv:2307.08691, algorithm 1): query `i` sees the keys from `first[i]` to `end[i]`. Rows of `q` and `o` are `qRow`
 * floats apart, those of `k` and `v` `kRow`. `lse` is the log-sum-exp of each query's scores; where a query sees nothing,
 * it and the output are 0.
 */
export function attention(
  q: usize, k: usize, v: usize, o: usize, lse: usize, first: usize, end: usize, queries: i32, qRow: i32, kRow: i32,
  headDim: i32, scale: f32, slope: f32, scratch: usize,
): void {
  for (let i = 0; i < queries; i += BLOCK) {
    const count = min(BLOCK, queries - i);
    const at = (<usize>i) << 2;
    const row = at * <usize>qRow;
    if (count == 1) {
      const from = load<i32>(first + at);
      const seen = load<i32>(end + at) - from;
      const skip = (<usize>(from * kRow)) << 2;
      store<f32>(lse + at, attendRow(q + row, k + skip, v + skip, o + row, seen, kRow, headDim, scale, slope, scratch));
    } else {
      attendBlock(
        q + row, k, v, o + row, lse + at, first + at, end + at, count, qRow, kRow, headDim, scale, slope, scratch,
      );
    }
  }
}

function attendBlock(
  q: usize, k: usize, v: usize, o: usize, lse: usize, first: usize, end: usize, queries: i32, qRow: i32, kRow: i32,
  headDim: i32, scale: f32, slope: f32, scratch: usize,
): void {
  const qStride = (<usize>qRow) << 2;
  const kStride = (<usize>kRow) << 2;
  const strips = (queries + STRIP - 1) / STRIP;
  const padded = (headDim + 3) & -4;
  const stripBytes = <usize>(padded * ROW);
  const packedQ = scratch + <usize>(strips * STRIP_BYTES);
  const outputs = packedQ + <usize>strips * stripBytes;
  const packedK = outputs + <usize>strips * stripBytes;
  const packedV = packedK + <usize>(TILE * padded * 4);
  const scores = packedV + <usize>(TILE * padded * 4);
  let from = i32.MAX_VALUE;
  let to = 0;
  for (let s = 0; s < strips; s++) {
    const strip = changetype<Strip>(scratch + <usize>(s * STRIP_BYTES));
    const i = s * STRIP;
    const count = min(STRIP, queries - i);
    readRanges(strip, first + ((<usize>i) << 2), end + ((<usize>i) << 2), count);
    packStrip(q + <usize>i * qStride, qStride, count, headDim, scale * LOG2E, packedQ + <usize>s * stripBytes);
    strip.top0 = strip.top1 = f32x4.splat(LOWEST);
    strip.sum0 = strip.sum1 = f32x4.splat(0);
    from = min(from, strip.low);
    to = max(to, strip.high);
  }
  memory.fill(outputs, 0, <usize>strips * stripBytes);
  for (let j = from; j < to; j += TILE) {
    const keys = min(TILE, to - j);
    packFours(k + <usize>j * kStride, kStride, 4, keys, headDim, packedK);
    packFours(v + <usize>j * kStride, 4, kStride, headDim, keys, packedV);
    for (let s = 0; s < strips; s++) {
      const strip = changetype<Strip>(scratch + <usize>(s * STRIP_BYTES));
      const low = (max(strip.low, j) - j) & -4;
      const high = min(strip.high, j + keys) - j;
      if (low >= high) continue;
      const rows = (high - low + 3) & -4;
      const output = outputs + <usize>s * stripBytes;
      const query = packedQ + <usize>s * stripBytes;
      stripScores(strip, query, packedK + ((<usize>(low * headDim)) << 2), headDim, j + low, rows, slope, scores);
      shareOut(strip, scores, rows, output, padded);
      multiplyPanels(packedV + ((<usize>low) << 4), (<usize>keys) << 4, headDim, high - low, scores, output, true);
    }
  }
  for (let s = 0; s < strips; s++) {
    const strip = changetype<Strip>(scratch + <usize>(s * STRIP_BYTES));
    const i = s * STRIP;
    const count = min(STRIP, queries - i);
    const output = outputs + <usize>s * stripBytes;
    scaleRows(output, headDim, inverse(strip.sum0), inverse(strip.sum1));
    unpackStrip(output, headDim, count, o + <usize>i * qStride, qStride);
    storeLogSums(strip, count, lse + ((<usize>i) << 2));
  }
}

/** Turns scores `[rows, 8]` into shares of the softmax so far, and what came before into shares of the new maximum. */
// @ts-ignore: decorator
@inline
function shareOut(strip: Strip, scores: usize, rows: i32, output: usize, headDim: i32): void {
  const stop = scores + <usize>rows * ROW;
  let top0 = strip.top0;
  let top1 = strip.top1;
  for (let p = scores; p < stop; p += ROW) {
    top0 = max4(top0, v128.load(p));
    top1 = max4(top1, v128.load(p, 16));
  }
  if (v128.any_true(v128.or(f32x4.gt(top0, strip.top0), f32x4.gt(top1, strip.top1)))) {
    const keep0 = exp2Share(f32x4.sub(strip.top0, top0));
    const keep1 = exp2Share(f32x4.sub(strip.top1, top1));
    scaleRows(output, headDim, keep0, keep1);
    strip.sum0 = f32x4.mul(strip.sum0, keep0);
    strip.sum1 = f32x4.mul(strip.sum1, keep1);
    strip.top0 = top0;
    strip.top1 = top1;
  }
  let sum0 = strip.sum0;
  let sum1 = strip.sum1;
  for (let p = scores; p < stop; p += ROW) {
    const share0 = exp2Share(f32x4.sub(v128.load(p), top0));
    const share1 = exp2Share(f32x4.sub(v128.load(p, 16), top1));
    v128.store(p, share0);
    v128.store(p, share1, 16);
    sum0 = f32x4.add(sum0, share0);
    sum1 = f32x4.add(sum1, share1);
  }
  strip.sum0 = sum0;
  strip.sum1 = sum1;
}

/** 1 / sum, and 0 for queries that saw nothing. */
// @ts-ignore: decorator
@inline
function inverse(sum: v128): v128 {
  return v128.andnot(f32x4.div(f32x4.splat(1), sum), f32x4.eq(sum, f32x4.splat(0)));
}

function storeLogSums(strip: Strip, count: i32, lse: usize): void {
  const at = changetype<usize>(strip);
  for (let i = 0; i < count; i++) {
    const o = (<usize>i) << 2;
    store<f32>(lse + o, logSum(load<f32>(at + o, offsetof<Strip>('top0')) * LN2, load<f32>(at + o, offsetof<Strip>('sum0'))));
  }
}

// @ts-ignore: decorator
@inline
function logSum(top: f64, sum: f32): f32 {
  return sum == 0 ? <f32>0 : <f32>(top + log(sum));
}

/**
 * Attention of one query of one head to `keys` keys from `k` on, all of them seen: the keys are streamed once, without
 * packing. `scores` is room for 512 floats.
 *
 * @returns the log-sum-exp of the scores, 0 without keys.
 */
export function attendRow(
  q: usize, k: usize, v: usize, o: usize, keys: i32, kRow: i32, headDim: i32, scale: f32, slope: f32, scores: usize,
): f32 {
  let top: f32 = LOWEST;
  let sum: f32 = 0;
  for (let d = 0; d < headDim; d++) store<f32>(o + ((<usize>d) << 2), 0);
  for (let j = 0; j < keys; j += ONCE) {
    const count = min(ONCE, keys - j);
    const skip = (<usize>(j * kRow)) << 2;
    gemvColumns(count, headDim, q, k + skip, kRow, scores);
    const newTop = max(top, scaleScores(scores, count, scale, slope, j + 1 - keys));
    if (newTop > top) {
      const keep = exp1(top - newTop);
      sum *= keep;
      for (let d = 0; d < headDim; d++) store<f32>(o + ((<usize>d) << 2), load<f32>(o + ((<usize>d) << 2)) * keep);
      top = newTop;
    }
    sum += exponentials(scores, count, top);
    gemvRows(headDim, count, scores, v + skip, kRow, o, true);
  }
  const share = sum == 0 ? <f32>0 : <f32>1 / sum;
  for (let d = 0; d < headDim; d++) store<f32>(o + ((<usize>d) << 2), load<f32>(o + ((<usize>d) << 2)) * share);
  return logSum(top, sum);
}

/** Scores times `scale`, plus `slope` times the key's place, which is `back` for the first; returns the largest. */
// @ts-ignore: decorator
@inline
function scaleScores(scores: usize, count: i32, scale: f32, slope: f32, back: i32): f32 {
  const scales = f32x4.splat(scale);
  const slopes = f32x4.splat(slope);
  const four = f32x4.splat(4);
  let places = f32x4.add(f32x4.splat(<f32>back), f32x4(0, 1, 2, 3));
  let lanes = f32x4.splat(LOWEST);
  let j = 0;
  for (; j + 4 <= count; j += 4) {
    const p = scores + ((<usize>j) << 2);
    const score = f32x4.add(f32x4.mul(v128.load(p), scales), f32x4.mul(places, slopes));
    v128.store(p, score);
    lanes = max4(lanes, score);
    places = f32x4.add(places, four);
  }
  let top = maxLanes(lanes);
  for (; j < count; j++) {
    const p = scores + ((<usize>j) << 2);
    const score = load<f32>(p) * scale + <f32>(back + j) * slope;
    store<f32>(p, score);
    top = max(top, score);
  }
  return top;
}

/** exp(score - top) in place; returns their sum. */
// @ts-ignore: decorator
@inline
function exponentials(scores: usize, count: i32, top: f32): f32 {
  const tops = f32x4.splat(top);
  let total = f32x4.splat(0);
  let j = 0;
  for (; j + 4 <= count; j += 4) {
    const p = scores + ((<usize>j) << 2);
    const share = exp4(f32x4.sub(v128.load(p), tops));
    v128.store(p, share);
    total = f32x4.add(total, share);
  }
  let sum = sumLanes(total);
  for (; j < count; j++) {
    const p = scores + ((<usize>j) << 2);
    const share = exp1(load<f32>(p) - top);
    store<f32>(p, share);
    sum += share;
  }
  return sum;
}
