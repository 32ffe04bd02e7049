import { dot, madd, sumLanes } from './vector';

/**
 * y [n] (+)= x [k] x B [k, n]: streams eight rows of B at a time, which keeps every memory channel busy. `ldb` in
 * floats.
 */
export function gemvRows(n: i32, k: i32, x: usize, b: usize, ldb: i32, y: usize, accumulate: bool): void {
  if (!accumulate) memory.fill(y, 0, (<usize>n) << 2);
  const row = (<usize>ldb) << 2;
  let i = 0;
  for (; i + 8 <= k; i += 8) {
    const s = x + ((<usize>i) << 2);
    const s0 = v128.load32_splat(s);
    const s1 = v128.load32_splat(s, 4);
    const s2 = v128.load32_splat(s, 8);
    const s3 = v128.load32_splat(s, 12);
    const s4 = v128.load32_splat(s, 16);
    const s5 = v128.load32_splat(s, 20);
    const s6 = v128.load32_splat(s, 24);
    const s7 = v128.load32_splat(s, 28);
    const p0 = b + <usize>i * row;
    const p1 = p0 + row;
    const p2 = p1 + row;
    const p3 = p2 + row;
    const p4 = p3 + row;
    const p5 = p4 + row;
    const p6 = p5 + row;
    const p7 = p6 + row;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const o = (<usize>j) << 2;
      let u = v128.load(y + o);
      let w = f32x4.splat(0);
      u = madd(s0, v128.load(p0 + o), u);
      w = madd(s1, v128.load(p1 + o), w);
      u = madd(s2, v128.load(p2 + o), u);
      w = madd(s3, v128.load(p3 + o), w);
      u = madd(s4, v128.load(p4 + o), u);
      w = madd(s5, v128.load(p5 + o), w);
      u = madd(s6, v128.load(p6 + o), u);
      w = madd(s7, v128.load(p7 + o), w);
      v128.store(y + o, f32x4.add(u, w));
    }
    for (; j < n; j++) {
      const o = (<usize>j) << 2;
      let sum = load<f32>(y + o);
      for (let r = 0; r < 8; r++) sum += load<f32>(s + ((<usize>r) << 2)) * load<f32>(p0 + <usize>r * row + o);
      store<f32>(y + o, sum);
    }
  }
  for (; i < k; i++) {
    const value = load<f32>(x + ((<usize>i) << 2));
    const p = b + <usize>i * row;
    for (let j = 0; j < n; j++) {
      const o = (<usize>j) << 2;
      store<f32>(y + o, load<f32>(y + o) + value * load<f32>(p + o));
    }
  }
}

/** y [n] = B [n, k] x x [k]: dot products with four rows of B at a time. `ldb` in floats. */
export function gemvColumns(n: i32, k: i32, x: usize, b: usize, ldb: i32, y: usize): void {
  const row = (<usize>ldb) << 2;
  let j = 0;
  for (; j + 4 <= n; j += 4) v128.store(y + ((<usize>j) << 2), dotFour(k, x, b + <usize>j * row, row));
  for (; j < n; j++) store<f32>(y + ((<usize>j) << 2), dot(x, b + <usize>j * row, k));
}

/** Four dot products of x [k] with consecutive rows of B, `row` bytes apart. */
// @ts-ignore: decorator
@inline
function dotFour(k: i32, x: usize, b: usize, row: usize): v128 {
  const b1 = b + row;
  const b2 = b1 + row;
  const b3 = b2 + row;
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0);
  let t1 = f32x4.splat(0);
  let t2 = f32x4.splat(0);
  let t3 = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= k; i += 8) {
    const o = (<usize>i) << 2;
    const u = v128.load(x + o);
    const w = v128.load(x + o, 16);
    s0 = madd(u, v128.load(b + o), s0);
    s1 = madd(u, v128.load(b1 + o), s1);
    s2 = madd(u, v128.load(b2 + o), s2);
    s3 = madd(u, v128.load(b3 + o), s3);
    t0 = madd(w, v128.load(b + o, 16), t0);
    t1 = madd(w, v128.load(b1 + o, 16), t1);
    t2 = madd(w, v128.load(b2 + o, 16), t2);
    t3 = madd(w, v128.load(b3 + o, 16), t3);
  }
  let sums = f32x4(
    sumLanes(f32x4.add(s0, t0)), sumLanes(f32x4.add(s1, t1)), sumLanes(f32x4.add(s2, t2)), sumLanes(f32x4.add(s3, t3)),
  );
  for (; i < k; i++) {
    const o = (<usize>i) << 2;
    const column = f32x4(load<f32>(b + o), load<f32>(b1 + o), load<f32>(b2 + o), load<f32>(b3 + o));
    sums = madd(v128.load32_splat(x + o), column, sums);
  }
  return sums;
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
