import type { FrozenDtype } from './frozen-matrix.js';

/**
 * Rows of packed weights as numbers: the plain form that kernels are held to, on arrays.
 *
 * @param words `[rows, words]`, little-endian.
 * @param columns how many weights a row has.
 * @param scales `[rows]`, of int8.
 * @returns `[rows, columns]`.
 */
export function thawedValues(
  words: Int32Array,
  rows: number,
  columns: number,
  dtype: FrozenDtype,
  scales?: Float32Array,
): Float32Array {
  const packed = dtype === 'int8' ? bytesOf(words) : halvesOf(words);
  const room = packed.length / rows;
  const value = numberOf[dtype];
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const scale = scales?.[row] ?? 1;
    for (let column = 0; column < columns; column++) {
      values[row * columns + column] = scale * value(packed[row * room + column]!);
    }
  }
  return values;
}

const numberOf: Readonly<Record<FrozenDtype, (bits: number) => number>> = {
  int8: (whole) => whole,
  bfloat16: (bits) => float32Of(bits << 16),
  float16: float16Value,
};

function bytesOf(words: Int32Array): Int8Array {
  return new Int8Array(words.buffer, words.byteOffset, 4 * words.length);
}

function halvesOf(words: Int32Array): Uint16Array {
  return new Uint16Array(words.buffer, words.byteOffset, 2 * words.length);
}

const word = new Int32Array(1);
const float = new Float32Array(word.buffer);

function float32Of(bits: number): number {
  word[0] = bits;
  return float[0]!;
}

/** IEEE 754 binary16, exactly. */
function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}
