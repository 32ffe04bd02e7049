const INFINITY_BITS: i32 = 0x7f800000;
/** The unit of float16's numbers below the normal ones, 2^-24. */
const UNIT: f32 = 5.960464477539063e-8;
/** The smallest normal float16 and the infinite one, moved to where a float32 has its bits. */
const NORMAL: i32 = 0x00800000;
const INFINITE: i32 = 0x0f800000;
/** How much larger the exponents of a float32 are. */
const BIAS: i32 = 0x38000000;

/** Four values of the lower half of `x`, 16-bit floats, as float32: exactly. */
// @ts-ignore: decorator
@inline
export function widenLow(x: v128, bfloat16: bool): v128 {
  if (bfloat16) return i16x8.shuffle(i32x4.splat(0), x, 0, 8, 0, 9, 0, 10, 0, 11);
  return widenFloat16(i32x4.extend_low_i16x8_u(x));
}

/** Those of the upper half. */
// @ts-ignore: decorator
@inline
export function widenHigh(x: v128, bfloat16: bool): v128 {
  if (bfloat16) return i16x8.shuffle(i32x4.splat(0), x, 0, 12, 0, 13, 0, 14, 0, 15);
  return widenFloat16(i32x4.extend_high_i16x8_u(x));
}

/** In whole numbers: a processor takes a hundred times as long for a float32 below its normal numbers. */
// @ts-ignore: decorator
@inline
function widenFloat16(bits: v128): v128 {
  const magnitude = v128.and(bits, i32x4.splat(0x7fff));
  const moved = i32x4.shl(magnitude, 13);
  const small = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(UNIT));
  const normal = i32x4.add(moved, i32x4.splat(BIAS));
  const infinite = v128.and(i32x4.ge_s(moved, i32x4.splat(INFINITE)), i32x4.splat(INFINITY_BITS));
  const value = v128.or(v128.bitselect(normal, small, i32x4.ge_s(moved, i32x4.splat(NORMAL))), infinite);
  return v128.or(value, i32x4.shl(v128.xor(bits, magnitude), 16));
}

// @ts-ignore: decorator
@inline
export function widenOne(at: usize, bfloat16: bool): f32 {
  return f32x4.extract_lane(widenLow(v128.load16_splat(at), bfloat16), 0);
}

/** y[i] = x[i], 16-bit floats of either kind to float32. */
export function widenHalves(x: usize, count: i32, bfloat16: bool, y: usize): void {
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    const halves = v128.load(x + ((<usize>i) << 1));
    const out = y + ((<usize>i) << 2);
    v128.store(out, widenLow(halves, bfloat16));
    v128.store(out, widenHigh(halves, bfloat16), 16);
  }
  for (; i < count; i++) store<f32>(y + ((<usize>i) << 2), widenOne(x + ((<usize>i) << 1), bfloat16));
}
