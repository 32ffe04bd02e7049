import { gemm, gemmScratchBytes } from './gemm';
import { gemvColumns, gemvRows } from './gemv';
import { dot, exp1, exp4, max4, maxLanes, sumLanes } from './vector';

// Queries are taken in blocks, so the scores of one block against all keys are the only quadratic-looking memory:
// O(keys).
const BLOCK: i32 = 64;

/** Bytes of scratch for `attention` and `attentionGradient` over `keys` keys. */
export function attentionScratchBytes(keys: i32): i32 {
  return gemmScratchBytes() + 2 * BLOCK * keys * 4;
}

/**
 * Number of keys that query `i` of `queries` sees: all, or with `causal` those up to its own position (keys may be
 * longer).
 */
// @ts-ignore: decorator
@inline
function visible(i: i32, queries: i32, keys: i32, causal: bool): i32 {
  return causal ? min(keys, i + 1 + keys - queries) : keys;
}

/**
 * Turns a row of raw scores into exp(scale * s - max), clears what is not visible, and returns log-sum-exp through
 * `sums`.
 */
// @ts-ignore: decorator
@inline
export function softmaxRow(row: usize, seen: i32, width: i32, scale: f32): f32 {
  let lanes = f32x4.splat(-f32.MAX_VALUE);
  let j = 0;
  for (; j + 4 <= seen; j += 4) lanes = max4(lanes, v128.load(row + ((<usize>j) << 2)));
  let top = maxLanes(lanes);
  for (; j < seen; j++) top = max(top, load<f32>(row + ((<usize>j) << 2)));
  const shift = f32x4.splat(top * scale);
  const scales = f32x4.splat(scale);
  let total = f32x4.splat(0);
  j = 0;
  for (; j + 4 <= seen; j += 4) {
    const o = row + ((<usize>j) << 2);
    const e = exp4(f32x4.sub(f32x4.mul(v128.load(o), scales), shift));
    v128.store(o, e);
    total = f32x4.add(total, e);
  }
  let sum = sumLanes(total);
  for (; j < seen; j++) {
    const o = row + ((<usize>j) << 2);
    const e = exp1(load<f32>(o) * scale - top * scale);
    store<f32>(o, e);
    sum += e;
  }
  const inverse = <f32>1 / sum;
  const inverses = f32x4.splat(inverse);
  j = 0;
  for (; j + 4 <= seen; j += 4) {
    const o = row + ((<usize>j) << 2);
    v128.store(o, f32x4.mul(v128.load(o), inverses));
  }
  for (; j < seen; j++) {
    const o = row + ((<usize>j) << 2);
    store<f32>(o, load<f32>(o) * inverse);
  }
  if (seen < width) memory.fill(row + ((<usize>seen) << 2), 0, (<usize>(width - seen)) << 2);
  return sum;
}

/** Probabilities of a block of queries against the first `width` keys, rows `width` apart. */
function probabilities(
  q: usize, qRow: i32, k: usize, kRow: i32, first: i32, block: i32, queries: i32, keys: i32, width: i32, headDim: i32,
  scale: f32, causal: bool, p: usize, gemmScratch: usize,
): void {
  if (block == 1) gemvColumns(width, headDim, q, k, kRow, p);
  else gemm(block, width, headDim, q, qRow, 1, k, 1, kRow, p, width, gemmScratch, false);
  for (let i = 0; i < block; i++) {
    softmaxRow(p + ((<usize>(i * width)) << 2), visible(first + i, queries, keys, causal), width, scale);
  }
}

/**
 * Exact attention of the `group` query heads that share one key-value head, in one batch item. `q` and `o` point at the
 * first of these heads, whose rows are `qRow` floats apart; `k` and `v` at the key-value head, rows `kRow` apart. So
 * nothing is transposed, nothing is copied for grouped queries, and every call writes its own part of `o`.
 */
export function attention(
  q: usize, k: usize, v: usize, o: usize, group: i32, queries: i32, keys: i32, qRow: i32, kRow: i32, headDim: i32,
  scale: f32, causal: bool, scratch: usize,
): void {
  const p = scratch + gemmScratchBytes();
  for (let h = 0; h < group; h++) {
    for (let i = 0; i < queries; i += BLOCK) {
      const block = min(BLOCK, queries - i);
      const at = (<usize>(i * qRow + h * headDim)) << 2;
      const width = visible(i + block - 1, queries, keys, causal);
      probabilities(q + at, qRow, k, kRow, i, block, queries, keys, width, headDim, scale, causal, p, scratch);
      if (block == 1) gemvRows(headDim, width, p, v, kRow, o + at, false);
      else gemm(block, headDim, width, p, width, 1, v, kRow, 1, o + at, qRow, scratch, false);
    }
  }
}

/**
 * Gradient of `attention`, of the same heads, by recomputation (FlashAttention, arXiv:2205.14135, algorithm 4, with
 * whole key rows instead of tiles): dV += P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = scale dS K, dK += scale dS^T
 * Q.
 */
export function attentionGradient(
  dO: usize, q: usize, k: usize, v: usize, o: usize, dQ: usize, dK: usize, dV: usize,
  group: i32, queries: i32, keys: i32, qRow: i32, kRow: i32, headDim: i32, scale: f32, causal: bool, scratch: usize,
): void {
  const p = scratch + gemmScratchBytes();
  const ds = p + ((<usize>(BLOCK * keys)) << 2);
  for (let j = 0; j < keys; j++) {
    memory.fill(dK + ((<usize>(j * kRow)) << 2), 0, (<usize>headDim) << 2);
    memory.fill(dV + ((<usize>(j * kRow)) << 2), 0, (<usize>headDim) << 2);
  }
  for (let h = 0; h < group; h++) {
    for (let i = 0; i < queries; i += BLOCK) {
      const block = min(BLOCK, queries - i);
      const at = (<usize>(i * qRow + h * headDim)) << 2;
      const width = visible(i + block - 1, queries, keys, causal);
      probabilities(q + at, qRow, k, kRow, i, block, queries, keys, width, headDim, scale, causal, p, scratch);
      gemm(width, headDim, block, p, 1, width, dO + at, qRow, 1, dV, kRow, scratch, true);
      gemm(block, width, headDim, dO + at, qRow, 1, v, 1, kRow, ds, width, scratch, false);
      for (let r = 0; r < block; r++) {
        const row = (<usize>(r * width)) << 2;
        const rowAt = at + ((<usize>(r * qRow)) << 2);
        scoreGradient(p + row, ds + row, dot(dO + rowAt, o + rowAt, headDim), scale, width);
      }
      gemm(block, headDim, width, ds, width, 1, k, kRow, 1, dQ + at, qRow, scratch, false);
      gemm(width, headDim, block, ds, 1, width, q + at, qRow, 1, dK, kRow, scratch, true);
    }
  }
}

/** ds = scale * p * (ds - delta), in place. */
// @ts-ignore: decorator
@inline
function scoreGradient(p: usize, ds: usize, delta: f32, scale: f32, width: i32): void {
  const deltas = f32x4.splat(delta);
  const scales = f32x4.splat(scale);
  let j = 0;
  for (; j + 4 <= width; j += 4) {
    const o = (<usize>j) << 2;
    v128.store(ds + o, f32x4.mul(f32x4.mul(scales, v128.load(p + o)), f32x4.sub(v128.load(ds + o), deltas)));
  }
  for (; j < width; j++) {
    const o = (<usize>j) << 2;
    store<f32>(ds + o, scale * load<f32>(p + o) * (load<f32>(ds + o) - delta));
  }
}
