import { exp4 } from './vector';

// @ts-ignore: decorator
@inline
function sigmoid4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}

/** The derivative of silu at g, where s = sigmoid(g). */
// @ts-ignore: decorator
@inline
function slope(g: v128, s: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.mul(s, f32x4.add(one, f32x4.mul(g, f32x4.sub(one, s))));
}

/** Loads fewer than four floats; missing lanes are zero. */
// @ts-ignore: decorator
@inline
function loadPart(p: usize, n: i32): v128 {
  let x = v128.load32_zero(p);
  if (n > 1) x = v128.load32_lane(p + 4, x, 1);
  if (n > 2) x = v128.load32_lane(p + 8, x, 2);
  return x;
}

// @ts-ignore: decorator
@inline
function storePart(p: usize, x: v128, n: i32): void {
  v128.store32_lane(p, x, 0);
  if (n > 1) v128.store32_lane(p + 4, x, 1);
  if (n > 2) v128.store32_lane(p + 8, x, 2);
}

/** y [rows, width] = silu(gate) * up, where x [rows, 2 width] holds gate and up side by side. */
export function swiGlu(x: usize, rows: i32, width: i32, y: usize): void {
  const bytes = (<usize>width) << 2;
  for (let i = 0; i < rows; i++) {
    const gate = x + <usize>i * 2 * bytes;
    const target = y + <usize>i * bytes;
    let j = 0;
    for (; j + 4 <= width; j += 4) {
      const o = (<usize>j) << 2;
      const g = v128.load(gate + o);
      v128.store(target + o, f32x4.mul(f32x4.mul(g, sigmoid4(g)), v128.load(gate + bytes + o)));
    }
    if (j < width) {
      const o = (<usize>j) << 2;
      const n = width - j;
      const g = loadPart(gate + o, n);
      storePart(target + o, f32x4.mul(f32x4.mul(g, sigmoid4(g)), loadPart(gate + bytes + o, n)), n);
    }
  }
}

/** dGate = dy * up * s * (1 + gate * (1 - s)), dUp = dy * gate * s, with s = sigmoid(gate). */
export function swiGluGradient(dy: usize, x: usize, rows: i32, width: i32, dx: usize): void {
  const bytes = (<usize>width) << 2;
  for (let i = 0; i < rows; i++) {
    const gate = x + <usize>i * 2 * bytes;
    const grad = dy + <usize>i * bytes;
    const target = dx + <usize>i * 2 * bytes;
    let j = 0;
    for (; j + 4 <= width; j += 4) {
      const o = (<usize>j) << 2;
      const g = v128.load(gate + o);
      const d = v128.load(grad + o);
      const s = sigmoid4(g);
      v128.store(target + o, f32x4.mul(f32x4.mul(d, v128.load(gate + bytes + o)), slope(g, s)));
      v128.store(target + bytes + o, f32x4.mul(d, f32x4.mul(g, s)));
    }
    if (j < width) {
      const o = (<usize>j) << 2;
      const n = width - j;
      const g = loadPart(gate + o, n);
      const d = loadPart(grad + o, n);
      const s = sigmoid4(g);
      storePart(target + o, f32x4.mul(f32x4.mul(d, loadPart(gate + bytes + o, n)), slope(g, s)), n);
      storePart(target + bytes + o, f32x4.mul(d, f32x4.mul(g, s)), n);
    }
  }
}
