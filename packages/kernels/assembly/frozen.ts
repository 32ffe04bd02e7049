import { gemmScratchBytes, KC, NC, NR, packEights, panelProduct } from './gemm';
import { madd, sumLanes } from './vector';

// How a row of weights is stored; the numbers stand in src/wasm/frozen.ts too.
const INT8: i32 = 0;
const BFLOAT16: i32 = 1;
const FLOAT16: i32 = 2;

/** Rows that are thawed together before they are packed: forward a panel's lanes, backward eight steps of its depth. */
const TOGETHER: i32 = NR;
const THAWED_ROW: i32 = NC * 4;
const THAWED: i32 = TOGETHER * THAWED_ROW;

/** Bytes of scratch that `frozenGemm` and `frozenGemmBack` need. */
export function frozenScratchBytes(): i32 {
  return gemmScratchBytes() + THAWED;
}

/** Bytes of one weight. */
// @ts-ignore: decorator
@inline
function sizeOf(kind: i32): usize {
  return kind == INT8 ? 1 : 2;
}

/** Eight stored weights, as eight of 16 bits. */
// @ts-ignore: decorator
@inline
function loadEight(kind: i32, at: usize): v128 {
  return kind == INT8 ? v128.load8x8_s(at) : v128.load(at);
}

/** The first four of `loadEight` as floats, int8 before its scale. */
// @ts-ignore: decorator
@inline
function firstFour(kind: i32, eight: v128): v128 {
  if (kind == INT8) return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(eight));
  const upper = v128.shuffle<i16>(i64x2.splat(0), eight, 0, 8, 1, 9, 2, 10, 3, 11);
  return kind == BFLOAT16 ? upper : widenFloat16(upper);
}

/** The last four of `loadEight`. */
// @ts-ignore: decorator
@inline
function lastFour(kind: i32, eight: v128): v128 {
  if (kind == INT8) return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(eight));
  const upper = v128.shuffle<i16>(i64x2.splat(0), eight, 4, 12, 5, 13, 6, 14, 7, 15);
  return kind == BFLOAT16 ? upper : widenFloat16(upper);
}

/**
 * float16 in the upper halves of four lanes as floats. Exponent and fraction move to where float32 has them and the
 * difference of the two biases is multiplied in, which makes subnormal ones right too; from 65536 on stand infinity and NaN.
 */
// @ts-ignore: decorator
@inline
function widenFloat16(upper: v128): v128 {
  const moved = v128.and(i32x4.shr_s(upper, 3), i32x4.splat(0x8fffe000));
  const value = f32x4.mul(moved, i32x4.splat(0x77800000)); // 2^112
  const beyond = f32x4.ge(f32x4.abs(value), f32x4.splat(65536));
  return v128.or(value, v128.and(beyond, i32x4.splat(0x7f800000)));
}

/** One stored weight as float, int8 before its scale. */
// @ts-ignore: decorator
@inline
function one(kind: i32, at: usize): f32 {
  if (kind == INT8) return <f32>load<i8>(at);
  return f32x4.extract_lane(firstFour(kind, i16x8.splat(load<i16>(at))), 0);
}

/** Thaws `count` weights of one row. `Kind` is a constant where this is inlined. */
// @ts-ignore: decorator
@inline
function thawSome(kind: i32, from: usize, scale: f32, count: i32, out: usize): void {
  const factor = f32x4.splat(scale);
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    const eight = loadEight(kind, from);
    const left = firstFour(kind, eight);
    const right = lastFour(kind, eight);
    v128.store(out, kind == INT8 ? f32x4.mul(factor, left) : left);
    v128.store(out, kind == INT8 ? f32x4.mul(factor, right) : right, 16);
    from += 8 * sizeOf(kind);
    out += 32;
  }
  for (; i < count; i++) {
    store<f32>(out, kind == INT8 ? scale * one(kind, from) : one(kind, from));
    from += sizeOf(kind);
    out += 4;
  }
}

function thawRow(kind: i32, from: usize, scale: f32, count: i32, out: usize): void {
  if (kind == INT8) thawSome(INT8, from, scale, count, out);
  else if (kind == BFLOAT16) thawSome(BFLOAT16, from, scale, count, out);
  else thawSome(FLOAT16, from, scale, count, out);
}

/** The scale of a row; halves have none. */
// @ts-ignore: decorator
@inline
function scaleOf(kind: i32, scales: usize, row: i32): f32 {
  return kind == INT8 ? load<f32>(scales + ((<usize>row) << 2)) : <f32>1;
}

/**
 * out [rows, columns] = the weights of rows of `packed`, `rowBytes` apart: of those that `ids` [rows] names, or of the
 * first ones in their order where `ids` is 0.
 */
export function thawRows(
  kind: i32, packed: usize, rowBytes: i32, scales: usize, ids: usize, rows: i32, columns: i32, out: usize,
): void {
  for (let i = 0; i < rows; i++) {
    const row = ids ? load<i32>(ids + ((<usize>i) << 2)) : i;
    thawRow(kind, packed + <usize>row * <usize>rowBytes, scaleOf(kind, scales, row), columns, out);
    out += (<usize>columns) << 2;
  }
}

/** y [n] = W [n, k] x x [k]: dot products with four rows of W at a time, a quarter of n apart. */
export function frozenGemv(
  kind: i32, n: i32, k: i32, x: usize, packed: usize, rowBytes: i32, scales: usize, y: usize,
): void {
  if (kind == INT8) gemv(INT8, n, k, x, packed, rowBytes, scales, y);
  else if (kind == BFLOAT16) gemv(BFLOAT16, n, k, x, packed, rowBytes, scales, y);
  else gemv(FLOAT16, n, k, x, packed, rowBytes, scales, y);
}

// @ts-ignore: decorator
@inline
function gemv(kind: i32, n: i32, k: i32, x: usize, packed: usize, rowBytes: i32, scales: usize, y: usize): void {
  const part = n >> 2;
  const apart = <usize>part * <usize>rowBytes;
  for (let j = 0; j < part; j++) {
    fourDots(kind, k, x, packed + <usize>j * <usize>rowBytes, apart, scales, j, part, y);
  }
  for (let j = part << 2; j < n; j++) {
    const sum = dotOne(kind, k, x, packed + <usize>j * <usize>rowBytes);
    store<f32>(y + ((<usize>j) << 2), scaleOf(kind, scales, j) * sum);
  }
}

/** Dot products of x [k] with four rows `apart` bytes from one to the next, which are the outputs j, j + part and so on. */
// @ts-ignore: decorator
@inline
function fourDots(
  kind: i32, k: i32, x: usize, p0: usize, apart: usize, scales: usize, j: i32, part: i32, y: usize,
): void {
  let p1 = p0 + apart;
  let p2 = p1 + apart;
  let p3 = p2 + apart;
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0);
  let t1 = f32x4.splat(0);
  let t2 = f32x4.splat(0);
  let t3 = f32x4.splat(0);
  const step: usize = <usize>8 * sizeOf(kind);
  let i = 0;
  for (; i + 8 <= k; i += 8) {
    const u = v128.load(x);
    const w = v128.load(x, 16);
    const e0 = loadEight(kind, p0);
    s0 = madd(u, firstFour(kind, e0), s0);
    t0 = madd(w, lastFour(kind, e0), t0);
    const e1 = loadEight(kind, p1);
    s1 = madd(u, firstFour(kind, e1), s1);
    t1 = madd(w, lastFour(kind, e1), t1);
    const e2 = loadEight(kind, p2);
    s2 = madd(u, firstFour(kind, e2), s2);
    t2 = madd(w, lastFour(kind, e2), t2);
    const e3 = loadEight(kind, p3);
    s3 = madd(u, firstFour(kind, e3), s3);
    t3 = madd(w, lastFour(kind, e3), t3);
    x += 32;
    p0 += step;
    p1 += step;
    p2 += step;
    p3 += step;
  }
  let sum0 = sumLanes(f32x4.add(s0, t0));
  let sum1 = sumLanes(f32x4.add(s1, t1));
  let sum2 = sumLanes(f32x4.add(s2, t2));
  let sum3 = sumLanes(f32x4.add(s3, t3));
  for (; i < k; i++) {
    const value = load<f32>(x);
    sum0 += value * one(kind, p0);
    sum1 += value * one(kind, p1);
    sum2 += value * one(kind, p2);
    sum3 += value * one(kind, p3);
    x += 4;
    p0 += sizeOf(kind);
    p1 += sizeOf(kind);
    p2 += sizeOf(kind);
    p3 += sizeOf(kind);
  }
  const first = y + ((<usize>j) << 2);
  const yApart = (<usize>part) << 2;
  store<f32>(first, scaleOf(kind, scales, j) * sum0);
  store<f32>(first + yApart, scaleOf(kind, scales, j + part) * sum1);
  store<f32>(first + 2 * yApart, scaleOf(kind, scales, j + 2 * part) * sum2);
  store<f32>(first + 3 * yApart, scaleOf(kind, scales, j + 3 * part) * sum3);
}

// @ts-ignore: decorator
@inline
function dotOne(kind: i32, k: i32, x: usize, p: usize): f32 {
  let s = f32x4.splat(0);
  let t = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= k; i += 8) {
    const eight = loadEight(kind, p);
    s = madd(v128.load(x), firstFour(kind, eight), s);
    t = madd(v128.load(x, 16), lastFour(kind, eight), t);
    x += 32;
    p += 8 * sizeOf(kind);
  }
  let sum = sumLanes(f32x4.add(s, t));
  for (; i < k; i++) {
    sum += load<f32>(x) * one(kind, p);
    x += 4;
    p += sizeOf(kind);
  }
  return sum;
}

/** C [m, n] = X [m, k] x W [n, k]^T, rows of C `ldc` floats apart. Eight rows of W at a time are thawed and packed. */
export function frozenGemm(
  kind: i32, m: i32, n: i32, k: i32, x: usize, packed: usize, rowBytes: i32, scales: usize, c: usize, ldc: i32,
  scratch: usize,
): void {
  const thawed = scratch + <usize>gemmScratchBytes();
  for (let jc = 0; jc < n; jc += NC) {
    const nc = min(NC, n - jc);
    for (let kk = 0; kk < k; kk += KC) {
      const kc = min(KC, k - kk);
      for (let j = 0; j < nc; j += TOGETHER) {
        const lanes = min(TOGETHER, nc - j);
        for (let r = 0; r < lanes; r++) {
          const row = jc + j + r;
          const from = packed + <usize>row * <usize>rowBytes + <usize>kk * sizeOf(kind);
          thawRow(kind, from, scaleOf(kind, scales, row), kc, thawed + ((<usize>(r * kc)) << 2));
        }
        packEights(thawed, (<usize>kc) << 2, 4, lanes, kc, scratch + ((<usize>(j * kc)) << 2));
      }
      panelProduct(m, nc, kc, x + ((<usize>kk) << 2), (<usize>k) << 2, 4, scratch, c + ((<usize>jc) << 2), (<usize>ldc) << 2, kk > 0);
    }
  }
}

/** C [m, n] = Y [m, k] x W [k, n], where a row of W has more than `n` weights; rows of C are `ldc` floats apart. */
export function frozenGemmBack(
  kind: i32, m: i32, n: i32, k: i32, y: usize, packed: usize, rowBytes: i32, scales: usize, c: usize, ldc: i32,
  scratch: usize,
): void {
  const thawed = scratch + <usize>gemmScratchBytes();
  for (let jc = 0; jc < n; jc += NC) {
    const nc = min(NC, n - jc);
    for (let kk = 0; kk < k; kk += KC) {
      const kc = min(KC, k - kk);
      for (let p = 0; p < kc; p += TOGETHER) {
        const some = min(TOGETHER, kc - p);
        for (let r = 0; r < some; r++) {
          const row = kk + p + r;
          const from = packed + <usize>row * <usize>rowBytes + <usize>jc * sizeOf(kind);
          thawRow(kind, from, scaleOf(kind, scales, row), nc, thawed + <usize>r * THAWED_ROW);
        }
        spreadRows(thawed, some, nc, (<usize>kc) << 5, scratch + ((<usize>p) << 5));
      }
      panelProduct(m, nc, kc, y + ((<usize>kk) << 2), (<usize>k) << 2, 4, scratch, c + ((<usize>jc) << 2), (<usize>ldc) << 2, kk > 0);
    }
  }
}

/**
 * Puts the numbers of `rows` thawed rows, eight and eight, one below the other into panels `[depth, 8]` that lie `apart`
 * bytes from one to the next; what the last panel lacks is zero.
 */
function spreadRows(thawed: usize, rows: i32, count: i32, apart: usize, out: usize): void {
  for (let r = 0; r < rows; r++) {
    for (let i = count; i & 7; i++) store<f32>(thawed + <usize>r * THAWED_ROW + ((<usize>i) << 2), 0);
  }
  for (let i = 0; i < count; i += 8) {
    let from = thawed + ((<usize>i) << 2);
    for (let r = 0; r < rows; r++) {
      const to = out + ((<usize>r) << 5);
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
      from += THAWED_ROW;
    }
    out += apart;
  }
}
