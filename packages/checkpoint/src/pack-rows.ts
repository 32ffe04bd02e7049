import { bfloat16ToFloat32, float32ToBfloat16 } from './bfloat16.js';
import { float16ToFloat32, float32ToFloat16 } from './float16.js';

/** What numbers are rounded to. */
export type PackedDtype = 'int8' | 'bfloat16' | 'float16';

/** Rows of numbers in fewer bytes: consecutive, little-endian, each row filled up with zeros to whole int32. */
export interface PackedRows {
  /** `[rows, words]`. */
  readonly packed: Int32Array;
  /** Of int8 alone, `[rows]`: a number is its row's scale times a whole number from -127 to 127. */
  readonly scales?: Float32Array;
}

/** Whole numbers of int8 go from -127 to 127. */
const LARGEST = 127;
/** float32's smallest step, of all numbers below the smallest normal one. */
const LEAST_STEP = 2 ** -149;
const SMALLEST_NORMAL = 2 ** -126;
/** Added to a float64 and taken away again, it leaves the nearest whole number, of two equally near the even one. */
const ROUNDER = 1.5 * 2 ** 52;

/**
 * Rounds rows to fewer bytes, to the nearest and of two equally near to the even. int8 takes a row's largest magnitude as
 * 127 (per output channel, LLM.int8(), arXiv:2208.07339) and moves no number by more than half a scale; bfloat16 moves one by at
 * most 2^-8 of it and float16 by 2^-11, or by 2^-25 below 2^-14.
 *
 * @param values `[rows, columns]`, row-major.
 * @returns new arrays.
 * @throws when there are not that many values, or one is not finite, or is not after rounding; it says which.
 */
export function packRows(
  values: Float32Array,
  [rows, columns]: readonly [rows: number, columns: number],
  dtype: PackedDtype,
): PackedRows {
  if (values.length !== rows * columns) {
    throw new Error(`packRows: expected ${rows} x ${columns} = ${rows * columns} values, got ${values.length}.`);
  }
  const words = wordsPerRow(columns, dtype);
  const packed = new Int32Array(rows * words);
  const row = (i: number) => values.subarray(i * columns, (i + 1) * columns);
  if (dtype !== 'int8') {
    const halves = new Uint16Array(packed.buffer);
    for (let i = 0; i < rows; i++) halves.set(roundHalves(row(i), i, dtype), 2 * i * words);
    return { packed };
  }
  const bytes = new Int8Array(packed.buffer);
  const scales = new Float32Array(rows);
  for (let i = 0; i < rows; i++) scales[i] = roundBytes(row(i), i, bytes.subarray(4 * i * words));
  return { packed, scales };
}

/** The way back of `packRows`: `[rows, columns]`, exact for halves. */
export function unpackRows(
  { packed, scales }: PackedRows,
  [rows, columns]: readonly [rows: number, columns: number],
  dtype: PackedDtype,
): Float32Array {
  const words = wordsPerRow(columns, dtype);
  if (packed.length !== rows * words || (dtype === 'int8') !== (scales?.length === rows)) {
    const expected = `${rows * words} words and ${dtype === 'int8' ? rows : 'no'} scales for ${rows} x ${columns} ${dtype}`;
    throw new Error(`unpackRows: expected ${expected}, got ${packed.length} and ${scales?.length ?? 'no'}.`);
  }
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const row = packed.subarray(i * words, (i + 1) * words);
    values.set(dtype === 'int8' ? scaled(row, scales![i], columns) : widened(row, columns, dtype), i * columns);
  }
  return values;
}

function wordsPerRow(columns: number, dtype: PackedDtype): number {
  return Math.ceil(columns / (dtype === 'int8' ? 4 : 2));
}

function roundHalves(values: Float32Array, row: number, dtype: 'bfloat16' | 'float16'): Uint16Array {
  const bits = dtype === 'bfloat16' ? float32ToBfloat16(values) : float32ToFloat16(values);
  const infinity = dtype === 'bfloat16' ? 0x7f80 : 0x7c00;
  const bad = bits.findIndex((half) => (half & 0x7fff) >= infinity);
  if (bad >= 0) refuse(values[bad], row, bad, dtype);
  return bits;
}

/** Writes the whole numbers of a row and returns its scale, 0 for a row of zeros. */
function roundBytes(values: Float32Array, row: number, bytes: Int8Array): number {
  const scale = scaleOf(largestOf(values, row));
  if (scale > 0) for (let i = 0; i < values.length; i++) bytes[i] = values[i] / scale + ROUNDER - ROUNDER;
  return scale;
}

/** A 127th in float32; where its steps are coarse, the next above, so that nothing lies beyond 127 scales. */
function scaleOf(largest: number): number {
  const share = largest / LARGEST;
  return share < SMALLEST_NORMAL ? Math.ceil(share / LEAST_STEP) * LEAST_STEP : Math.fround(share);
}

function largestOf(values: Float32Array, row: number): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]);
    if (!(magnitude < Number.POSITIVE_INFINITY)) refuse(values[i], row, i, 'int8');
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

function refuse(value: number, row: number, column: number, dtype: PackedDtype): never {
  const reason = Number.isFinite(value)
    ? `is too large for ${dtype}; use ${dtype === 'float16' ? 'bfloat16 or ' : ''}int8`
    : 'is not finite';
  throw new Error(`packRows: ${value} at row ${row}, column ${column} ${reason}.`);
}

function scaled(row: Int32Array, scale: number, columns: number): Float32Array {
  return Float32Array.from(new Int8Array(row.buffer, row.byteOffset, columns), (whole) => scale * whole);
}

function widened(row: Int32Array, columns: number, dtype: 'bfloat16' | 'float16'): Float32Array {
  const bits = new Uint16Array(row.buffer, row.byteOffset, columns);
  return dtype === 'bfloat16' ? bfloat16ToFloat32(bits) : float16ToFloat32(bits);
}
