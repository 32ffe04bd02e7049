const INFINITY_BITS = 0x7f800000;
const MAGNITUDE = 0x7fffffff;
/** 65520, half way between the largest float16 (65504) and the next power of two: rounds to infinity. */
const OVERFLOW = 0x477ff000;
/** 2^-14, the smallest normal float16. */
const SMALLEST_NORMAL = 0x38800000;
/** 2^-25, half of the smallest float16: ties to the even zero. */
const HALF_OF_SMALLEST = 0x33000000;

/**
 * Rounds float32 to IEEE 754 binary16, round to nearest, ties to even. Values from 65520 up become infinity; a NaN
 * stays a quiet NaN.
 *
 * @param x any length.
 * @returns the bit patterns, same length; a new array.
 */
export function float32ToFloat16(x: Float32Array): Uint16Array {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const result = new Uint16Array(x.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i];
    const magnitude = word & MAGNITUDE;
    let half: number;
    if (magnitude >= OVERFLOW) {
      half = magnitude > INFINITY_BITS ? 0x7e00 | ((magnitude & 0x7fffff) >>> 13) : 0x7c00;
    } else if (magnitude >= SMALLEST_NORMAL) {
      half = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    } else if (magnitude <= HALF_OF_SMALLEST) {
      half = 0;
    } else {
      const mantissa = (magnitude & 0x7fffff) | 0x800000;
      const shift = 126 - (magnitude >>> 23); // 14 … 24: the result counts units of 2^-24
      half = (mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift;
    }
    result[i] = ((word >>> 16) & 0x8000) | half;
  }
  return result;
}

let table: Float32Array | undefined;

/** The value of every float16 bit pattern, 256 KiB, made once. */
function valueOfBits(): Float32Array {
  if (table) return table;
  table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) table[bits] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else table[bits] = sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  }
  return table;
}

/** The float32 bits of every float16 bit pattern. */
export function float16Words(): Int32Array {
  return new Int32Array(valueOfBits().buffer);
}

/**
 * Widens float16 bit patterns to float32, exactly.
 *
 * @param bits any length.
 * @returns same length; a new array.
 */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const values = valueOfBits();
  const result = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) result[i] = values[bits[i]];
  return result;
}
