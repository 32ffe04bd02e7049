import { max4, maxLanes } from './vector';

/** Bits that turn the three lower bytes of a packed number, which lie 128 higher, into signed ones. */
const LOWER: i32 = 0x00808080;

/**
 * Rounds rows of `width` floats, a multiple of 4, to 8 bits: x = scales[row] * q with q in [-127, 127]. Number j of
 * `packed` [rows, width / 4] holds, from its lowest byte on, q + 128 of the numbers j, j + width / 4 and
 * j + width / 2, and q of the number j + 3 width / 4.
 */
export function packInt8(x: usize, rows: i32, width: i32, packed: usize, scales: usize): void {
  const quarter = width >> 2;
  const plane = (<usize>quarter) << 2;
  for (let r = 0; r < rows; r++) {
    const row = x + ((<usize>(r * width)) << 2);
    const out = packed + ((<usize>(r * quarter)) << 2);
    const scale = largest(row, width) / 127;
    store<f32>(scales + ((<usize>r) << 2), scale);
    const factor = f32x4.splat(scale);
    const some = f32x4.ne(factor, f32x4.splat(0)); // a row of zeros stays one
    let j = 0;
    for (; j + 4 <= quarter; j += 4) {
      const at = row + ((<usize>j) << 2);
      v128.store(out + ((<usize>j) << 2), join(
        round(v128.load(at), factor, some), round(v128.load(at + plane), factor, some),
        round(v128.load(at + 2 * plane), factor, some), round(v128.load(at + 3 * plane), factor, some),
      ));
    }
    for (; j < quarter; j++) {
      const at = row + ((<usize>j) << 2);
      store<i32>(out + ((<usize>j) << 2), i32x4.extract_lane(join(
        round(v128.load32_splat(at), factor, some), round(v128.load32_splat(at + plane), factor, some),
        round(v128.load32_splat(at + 2 * plane), factor, some), round(v128.load32_splat(at + 3 * plane), factor, some),
      ), 0));
    }
  }
}

/** The way back of `packInt8`: y [rows, width]. */
export function unpackInt8(packed: usize, scales: usize, rows: i32, width: i32, y: usize): void {
  const quarter = width >> 2;
  const plane = (<usize>quarter) << 2;
  for (let r = 0; r < rows; r++) {
    const from = packed + ((<usize>(r * quarter)) << 2);
    const row = y + ((<usize>(r * width)) << 2);
    const scale = f32x4.splat(load<f32>(scales + ((<usize>r) << 2)));
    let j = 0;
    for (; j + 4 <= quarter; j += 4) {
      const bytes = v128.xor(v128.load(from + ((<usize>j) << 2)), i32x4.splat(LOWER));
      const at = row + ((<usize>j) << 2);
      v128.store(at, widen(i32x4.shl(bytes, 24), scale));
      v128.store(at + plane, widen(i32x4.shl(bytes, 16), scale));
      v128.store(at + 2 * plane, widen(i32x4.shl(bytes, 8), scale));
      v128.store(at + 3 * plane, widen(bytes, scale));
    }
    for (; j < quarter; j++) {
      const bytes = v128.xor(v128.load32_splat(from + ((<usize>j) << 2)), i32x4.splat(LOWER));
      const at = row + ((<usize>j) << 2);
      store<f32>(at, f32x4.extract_lane(widen(i32x4.shl(bytes, 24), scale), 0));
      store<f32>(at + plane, f32x4.extract_lane(widen(i32x4.shl(bytes, 16), scale), 0));
      store<f32>(at + 2 * plane, f32x4.extract_lane(widen(i32x4.shl(bytes, 8), scale), 0));
      store<f32>(at + 3 * plane, f32x4.extract_lane(widen(bytes, scale), 0));
    }
  }
}

/** The largest magnitude of a row. */
// @ts-ignore: decorator
@inline
function largest(row: usize, width: i32): f32 {
  let lanes = f32x4.splat(0);
  for (let j = 0; j < width; j += 4) lanes = max4(lanes, f32x4.abs(v128.load(row + ((<usize>j) << 2))));
  return maxLanes(lanes);
}

/** Whole numbers nearest to x / scale, 0 where nothing is. */
// @ts-ignore: decorator
@inline
function round(x: v128, scale: v128, some: v128): v128 {
  return v128.and(some, i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(x, scale))));
}

// @ts-ignore: decorator
@inline
function join(a: v128, b: v128, c: v128, d: v128): v128 {
  const byte = i32x4.splat(255);
  const low = v128.or(v128.and(a, byte), i32x4.shl(v128.and(b, byte), 8));
  const high = v128.or(i32x4.shl(v128.and(c, byte), 16), i32x4.shl(d, 24));
  return v128.xor(v128.or(low, high), i32x4.splat(LOWER));
}

/** The highest byte of each lane as a signed number, scaled. */
// @ts-ignore: decorator
@inline
function widen(lanes: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(lanes, 24)), scale);
}
