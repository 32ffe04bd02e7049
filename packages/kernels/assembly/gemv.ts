import { dot, madd, sumLanes } from './vector';

/**
 * y [n] (+)= x [k] x B [k, n]. Streams eight rows of B at a time, an eighth of k apart: eight runs through memory that
 * the processor prefetches side by side, where neighbouring short rows would be one. `ldb` in floats.
 */
export function gemvRows(n: i32, k: i32, x: usize, b: usize, ldb: i32, y: usize, accumulate: bool): void {
  if (!accumulate) clear(y, n);
  const row = (<usize>ldb) << 2;
  const part = k >> 3;
  const apart = (<usize>part) << 2;
  const rowsApart = <usize>part * row;
  for (let i = 0; i < part; i++) {
    const s = x + ((<usize>i) << 2);
    const s0 = v128.load32_splat(s);
    const s1 = v128.load32_splat(s + apart);
    const s2 = v128.load32_splat(s + 2 * apart);
    const s3 = v128.load32_splat(s + 3 * apart);
    const s4 = v128.load32_splat(s + 4 * apart);
    const s5 = v128.load32_splat(s + 5 * apart);
    const s6 = v128.load32_splat(s + 6 * apart);
    const s7 = v128.load32_splat(s + 7 * apart);
    const p0 = b + <usize>i * row;
    const p1 = p0 + rowsApart;
    const p2 = p1 + rowsApart;
    const p3 = p2 + rowsApart;
    const p4 = p3 + rowsApart;
    const p5 = p4 + rowsApart;
    const p6 = p5 + rowsApart;
    const p7 = p6 + rowsApart;
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
      for (let r: usize = 0; r < 8; r++) sum += load<f32>(s + r * apart) * load<f32>(p0 + r * rowsApart + o);
      store<f32>(y + o, sum);
    }
  }
  for (let i = part << 3; i < k; i++) {
    const value = load<f32>(x + ((<usize>i) << 2));
    const p = b + <usize>i * row;
    for (let j = 0; j < n; j++) {
      const o = (<usize>j) << 2;
      store<f32>(y + o, load<f32>(y + o) + value * load<f32>(p + o));
    }
  }
}

/** y [n] = 0. `memory.fill` leaves the module for the engine's own, which costs more than a short row. */
// @ts-ignore: decorator
@inline
function clear(y: usize, n: i32): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) v128.store(y + ((<usize>j) << 2), f32x4.splat(0));
  for (; j < n; j++) store<f32>(y + ((<usize>j) << 2), 0);
}

/** y [n] = B [n, k] x x [k]: dot products with four rows of B at a time, a quarter of n apart. `ldb` in floats. */
export function gemvColumns(n: i32, k: i32, x: usize, b: usize, ldb: i32, y: usize): void {
  const row = (<usize>ldb) << 2;
  const part = n >> 2;
  for (let j = 0; j < part; j++) fourDots(k, x, b + <usize>j * row, <usize>part * row, y + ((<usize>j) << 2), part << 2);
  for (let j = part << 2; j < n; j++) store<f32>(y + ((<usize>j) << 2), dot(x, b + <usize>j * row, k));
}

/** Dot products of x [k] with four rows, `apart` bytes from one to the next, stored `yApart` bytes apart. */
// @ts-ignore: decorator
@inline
function fourDots(k: i32, x: usize, b0: usize, apart: usize, y: usize, yApart: usize): void {
  const b1 = b0 + apart;
  const b2 = b1 + apart;
  const b3 = b2 + apart;
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
    s0 = madd(u, v128.load(b0 + o), s0);
    s1 = madd(u, v128.load(b1 + o), s1);
    s2 = madd(u, v128.load(b2 + o), s2);
    s3 = madd(u, v128.load(b3 + o), s3);
    t0 = madd(w, v128.load(b0 + o, 16), t0);
    t1 = madd(w, v128.load(b1 + o, 16), t1);
    t2 = madd(w, v128.load(b2 + o, 16), t2);
    t3 = madd(w, v128.load(b3 + o, 16), t3);
  }
  let sum0 = sumLanes(f32x4.add(s0, t0));
  let sum1 = sumLanes(f32x4.add(s1, t1));
  let sum2 = sumLanes(f32x4.add(s2, t2));
  let sum3 = sumLanes(f32x4.add(s3, t3));
  for (; i < k; i++) {
    const o = (<usize>i) << 2;
    const value = load<f32>(x + o);
    sum0 += value * load<f32>(b0 + o);
    sum1 += value * load<f32>(b1 + o);
    sum2 += value * load<f32>(b2 + o);
    sum3 += value * load<f32>(b3 + o);
  }
  store<f32>(y, sum0);
  store<f32>(y + yApart, sum1);
  store<f32>(y + 2 * yApart, sum2);
  store<f32>(y + 3 * yApart, sum3);
}
