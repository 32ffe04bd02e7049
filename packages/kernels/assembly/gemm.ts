import { madd } from './vector';

// Blocks that keep the packed panels in the first and second cache level; 4 x 8 is the largest register tile V8 does
// not spill.
const MR: i32 = 4;
export const NR: i32 = 8;
export const KC: i32 = 256;
export const NC: i32 = 512;
const MC: i32 = 128;

const PANEL_B: i32 = KC * NC * 4;
const PANEL_A: i32 = KC * MC * 4;
const TILE: i32 = MR * NR * 4;

/** Bytes of scratch that `gemm` needs. */
export function gemmScratchBytes(): i32 {
  return PANEL_B + PANEL_A + TILE;
}

/** Transposes four rows of four floats into `out`, `outStride` bytes apart. */
// @ts-ignore: decorator
@inline
export function transpose4(a: v128, b: v128, c: v128, d: v128, out: usize, outStride: usize): void {
  const t0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const t1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const t2 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const t3 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(t0, t2, 0, 2));
  v128.store(out + outStride, v128.shuffle<i64>(t0, t2, 1, 3));
  v128.store(out + 2 * outStride, v128.shuffle<i64>(t1, t3, 0, 2));
  v128.store(out + 3 * outStride, v128.shuffle<i64>(t1, t3, 1, 3));
}

/**
 * Packs `width` lanes x `depth` of a strided matrix into panels of `PR` lanes; missing lanes are zero. Strides in
 * bytes.
 */
// @ts-ignore: decorator
@inline
function packPanel(source: usize, laneStride: usize, depthStride: usize, lanes: i32, depth: i32, PR: i32, out: usize): void {
  const panelBytes = <usize>(PR << 2);
  if (lanes == PR && laneStride == 4) {
    for (let k = 0; k < depth; k++) {
      for (let q: i32 = 0; q < PR; q += 4) v128.store(out + ((<usize>q) << 2), v128.load(source + ((<usize>q) << 2)));
      out += panelBytes;
      source += depthStride;
    }
    return;
  }
  if (lanes == PR && depthStride == 4) {
    let k = 0;
    for (; k + 4 <= depth; k += 4) {
      for (let q: i32 = 0; q < PR; q += 4) {
        const p = source + <usize>q * laneStride;
        transpose4(
          v128.load(p),
          v128.load(p + laneStride),
          v128.load(p + 2 * laneStride),
          v128.load(p + 3 * laneStride),
          out + ((<usize>q) << 2),
          panelBytes,
        );
      }
      out += 4 * panelBytes;
      source += 16;
    }
    for (; k < depth; k++) {
      for (let r: i32 = 0; r < PR; r++) store<f32>(out + ((<usize>r) << 2), load<f32>(source + <usize>r * laneStride));
      out += panelBytes;
      source += 4;
    }
    return;
  }
  for (let k = 0; k < depth; k++) {
    for (let r: i32 = 0; r < PR; r++) {
      store<f32>(out + ((<usize>r) << 2), r < lanes ? load<f32>(source + <usize>r * laneStride) : <f32>0);
    }
    out += panelBytes;
    source += depthStride;
  }
}

// @ts-ignore: decorator
@inline
function storeRow(row: usize, left: v128, right: v128, accumulate: bool): void {
  v128.store(row, accumulate ? f32x4.add(v128.load(row), left) : left);
  v128.store(row, accumulate ? f32x4.add(v128.load(row, 16), right) : right, 16);
}

/**
 * Packs `lanes` x `depth` into panels of four lanes, one behind the other, each `[depth, 4]`. Strides in bytes, of which
 * one is 4; lanes that the last panel has too many are zero.
 */
export function packFours(source: usize, laneStride: usize, depthStride: usize, lanes: i32, depth: i32, out: usize): void {
  for (let i = 0; i < lanes; i += 4) {
    packPanel(source + <usize>i * laneStride, laneStride, depthStride, min(4, lanes - i), depth, 4, out);
    out += (<usize>depth) << 4;
  }
}

/** `packFours` in panels of eight lanes. */
export function packEights(source: usize, laneStride: usize, depthStride: usize, lanes: i32, depth: i32, out: usize): void {
  for (let i = 0; i < lanes; i += 8) {
    packPanel(source + <usize>i * laneStride, laneStride, depthStride, min(8, lanes - i), depth, 8, out);
    out += (<usize>depth) << 5;
  }
}

/**
 * One 4 x 8 tile of C (+)= A B, `a` packed `[depth, 4]` and `b` `[depth, 8]`. Unrolled by hand: AssemblyScript keeps
 * v128 in registers only as named locals.
 */
export function micro(depth: i32, a: usize, b: usize, c: usize, cStride: usize, accumulate: bool): void {
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  for (let k = 0; k < depth; k++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = madd(a0, b0, c00);
    c01 = madd(a0, b1, c01);
    const a1 = v128.load32_splat(a, 4);
    c10 = madd(a1, b0, c10);
    c11 = madd(a1, b1, c11);
    const a2 = v128.load32_splat(a, 8);
    c20 = madd(a2, b0, c20);
    c21 = madd(a2, b1, c21);
    const a3 = v128.load32_splat(a, 12);
    c30 = madd(a3, b0, c30);
    c31 = madd(a3, b1, c31);
    a += 16;
    b += 32;
  }
  storeRow(c, c00, c01, accumulate);
  storeRow(c + cStride, c10, c11, accumulate);
  storeRow(c + 2 * cStride, c20, c21, accumulate);
  storeRow(c + 3 * cStride, c30, c31, accumulate);
}

/** Moves the `rows` x `columns` corner of a 4 x 8 tile to where C has no more room. */
export function copyTile(tile: usize, c: usize, cStride: usize, rows: i32, columns: i32, accumulate: bool): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const target = c + <usize>i * cStride + ((<usize>j) << 2);
      const value = load<f32>(tile + ((<usize>(i * NR + j)) << 2));
      store<f32>(target, accumulate ? load<f32>(target) + value : value);
    }
  }
}

/**
 * C [m, n] = A [m, k] x B [k, n], or C += with `accumulate`. A and B have any row and column stride (in floats), so
 * every transpose is a matter of strides; C is row-major with `ldc` floats a row. After Goto and van de Geijn (2008).
 */
export function gemm(
  m: i32, n: i32, k: i32,
  a: usize, aRow: i32, aColumn: i32,
  b: usize, bRow: i32, bColumn: i32,
  c: usize, ldc: i32,
  scratch: usize, accumulate: bool,
): void {
  const cStride = (<usize>ldc) << 2;
  const aRowBytes = (<usize>aRow) << 2;
  const aColumnBytes = (<usize>aColumn) << 2;
  const bRowBytes = (<usize>bRow) << 2;
  const bColumnBytes = (<usize>bColumn) << 2;
  for (let jc = 0; jc < n; jc += NC) {
    const nc = min(NC, n - jc);
    for (let kk = 0; kk < k; kk += KC) {
      const kc = min(KC, k - kk);
      const add = accumulate || kk > 0;
      for (let j = 0; j < nc; j += NR) {
        const source = b + <usize>kk * bRowBytes + <usize>(jc + j) * bColumnBytes;
        packPanel(source, bColumnBytes, bRowBytes, min(NR, nc - j), kc, NR, scratch + ((<usize>(j * kc)) << 2));
      }
      const left = a + <usize>kk * aColumnBytes;
      panelProduct(m, nc, kc, left, aRowBytes, aColumnBytes, scratch, c + ((<usize>jc) << 2), cStride, add);
    }
  }
}

/**
 * C [m, nc] (+)= A [m, kc] x B [kc, nc], where B lies packed at the start of `scratch`; the strides of A and C in bytes.
 */
export function panelProduct(
  m: i32, nc: i32, kc: i32, a: usize, aRowBytes: usize, aColumnBytes: usize, scratch: usize, c: usize, cStride: usize,
  add: bool,
): void {
  const panelA = scratch + PANEL_B;
  const tile = panelA + PANEL_A;
  for (let ic = 0; ic < m; ic += MC) {
    const mc = min(MC, m - ic);
    for (let i = 0; i < mc; i += MR) {
      const source = a + <usize>(ic + i) * aRowBytes;
      packPanel(source, aRowBytes, aColumnBytes, min(MR, mc - i), kc, MR, panelA + ((<usize>(i * kc)) << 2));
    }
    for (let j = 0; j < nc; j += NR) {
      const pb = scratch + ((<usize>(j * kc)) << 2);
      for (let i = 0; i < mc; i += MR) {
        const pa = panelA + ((<usize>(i * kc)) << 2);
        const target = c + <usize>(ic + i) * cStride + ((<usize>j) << 2);
        if (mc - i >= MR && nc - j >= NR) {
          micro(kc, pa, pb, target, cStride, add);
        } else {
          micro(kc, pa, pb, tile, NR * 4, false);
          copyTile(tile, target, cStride, min(MR, mc - i), min(NR, nc - j), add);
        }
      }
    }
  }
}
