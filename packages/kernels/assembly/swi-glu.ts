import { exp4 } from './vector';

// @ts-ignore: decorator
@inline
function sigmoid4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}

/** Loads up to four floats; missing lanes are zero. */
// @ts-ignore: decorator
@inline
function loadPart(p: usize, n: i32): v128 {
  if (n >= 4) return v128.load(p);
  let x = v128.load32_zero(p);
  if (n > 1) x = v128.load32_lane(p + 4, x, 1);
  if (n > 2) x = v128.load32_lane(p + 8, x, 2);
  return x;
}

// @ts-ignore: decorator
@inline
function storePart(p: usize, x: v128, n: i32): void {
  if (n >= 4) {
    v128.store(p, x);
    return;
  }
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
    for (let j = 0; j < width; j += 4) {
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
  const one = f32x4.splat(1);
  for (let i = 0; i < rows; i++) {
    const gate = x + <usize>i * 2 * bytes;
    const grad = dy + <usize>i * bytes;
    const target = dx + <usize>i * 2 * bytes;
    for (let j = 0; j < width; j += 4) {
      const o = (<usize>j) << 2;
      const n = width - j;
      const g = loadPart(gate + o, n);
      const d = loadPart(grad + o, n);
      const s = sigmoid4(g);
      const slope = f32x4.mul(s, f32x4.add(one, f32x4.mul(g, f32x4.sub(one, s))));
      storePart(target + o, f32x4.mul(f32x4.mul(d, loadPart(gate + bytes + o, n)), slope), n);
      storePart(target + bytes + o, f32x4.mul(d, f32x4.mul(g, s)), n);
    }
  }
}
