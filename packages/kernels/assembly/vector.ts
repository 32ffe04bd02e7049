/** a * b + c. Relaxed SIMD may fuse the two roundings into one; plain SIMD never does. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<f32>(a, b, c);
  return v128.add<f32>(c, v128.mul<f32>(a, b));
}

// @ts-ignore: decorator
@inline
export function sumLanes(x: v128): f32 {
  return (
    f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3))
  );
}

// @ts-ignore: decorator
@inline
export function maxLanes(x: v128): f32 {
  return max(
    max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}

/** The larger of each lane in one instruction, where f32x4.max takes eight for its rules on NaN. A NaN in b is left out. */
// @ts-ignore: decorator
@inline
export function max4(a: v128, b: v128): v128 {
  return f32x4.pmax(a, b);
}

/**
 * exp of four floats, relative error about 1e-7 (Cephes expf); inputs below -87 give about 1e-38, above 88 saturate,
 * NaN stays NaN.
 */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  x = f32x4.pmin(f32x4.pmax(x, f32x4.splat(-87.0)), f32x4.splat(88.0));
  // Added to 1.5 * 2^23, a float is rounded to a whole number that stands in its low bits: no rounding, no conversion.
  const shifter = f32x4.splat(12582912.0);
  const shifted = madd(x, f32x4.splat(1.44269504), shifter);
  const n = f32x4.sub(shifted, shifter);
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = madd(n, f32x4.splat(2.1219444e-4), r);
  let p = f32x4.splat(1.98756915e-4);
  p = madd(p, r, f32x4.splat(1.39819995e-3));
  p = madd(p, r, f32x4.splat(8.33345191e-3));
  p = madd(p, r, f32x4.splat(4.16657959e-2));
  p = madd(p, r, f32x4.splat(0.16666666));
  p = madd(p, r, f32x4.splat(0.5));
  p = f32x4.add(madd(p, f32x4.mul(r, r), r), f32x4.splat(1.0));
  return f32x4.mul(p, i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(127 << 23)));
}

/**
 * 2^x of four floats up to 0 (or a rounding above), relative error about 1e-7; below -120 it is 0, NaN stays NaN. With
 * no logarithm of 2 to take apart and no upper end it takes two thirds of `exp4`.
 */
// @ts-ignore: decorator
@inline
export function exp2Share(x: v128): v128 {
  const shifter = f32x4.splat(12582912.0);
  const shifted = f32x4.add(x, shifter);
  const r = f32x4.sub(x, f32x4.sub(shifted, shifter));
  let p = f32x4.splat(1.5353362e-4);
  p = madd(p, r, f32x4.splat(1.3398875e-3));
  p = madd(p, r, f32x4.splat(9.6184369e-3));
  p = madd(p, r, f32x4.splat(5.5503324e-2));
  p = madd(p, r, f32x4.splat(0.24022648));
  p = madd(p, r, f32x4.splat(0.69314718));
  p = madd(p, r, f32x4.splat(1.0));
  return v128.andnot(i32x4.add(p, i32x4.shl(shifted, 23)), f32x4.lt(x, f32x4.splat(-120.0)));
}

/** exp of one float by the same polynomial, so that a row's tail equals its body. */
// @ts-ignore: decorator
@inline
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}

// @ts-ignore: decorator
@inline
export function dot(a: usize, b: usize, n: i32): f32 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const o = (<usize>i) << 2;
    s0 = madd(v128.load(a + o), v128.load(b + o), s0);
    s1 = madd(v128.load(a + o, 16), v128.load(b + o, 16), s1);
  }
  let sum = sumLanes(f32x4.add(s0, s1));
  for (; i < n; i++) sum += load<f32>(a + ((<usize>i) << 2)) * load<f32>(b + ((<usize>i) << 2));
  return sum;
}
