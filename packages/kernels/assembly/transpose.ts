import { widenHigh, widenLow, widenOne } from './halves';

/**
 * Side of a square that is turned in the first cache. Its rows are then moved whole: four cache lines at once, where
 * lines of the target one by one are each on a page of their own.
 */
const SIDE = 64;
const SQUARE_ROW: usize = SIDE << 2;

export function transposeScratchBytes(): i32 {
  return SIDE * SIDE * 4;
}

// @ts-ignore: decorator
@inline
function storeTransposed(a: v128, b: v128, c: v128, d: v128, y: usize): void {
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5);
  const cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  v128.store(y, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(y + SQUARE_ROW, i64x2.shuffle(ab, cd, 1, 3));
  const AB = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const CD = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(y + 2 * SQUARE_ROW, i64x2.shuffle(AB, CD, 0, 2));
  v128.store(y + 3 * SQUARE_ROW, i64x2.shuffle(AB, CD, 1, 3));
}

/** Turns `rows` rows of `count` floats, at most a square. */
function turn(x: usize, rows: i32, xRow: usize, count: i32, square: usize): void {
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const a = x + <usize>r * xRow;
    const b = a + xRow;
    const c = b + xRow;
    const d = c + xRow;
    const out = square + ((<usize>r) << 2);
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const at = (<usize>i) << 2;
      storeTransposed(v128.load(a + at), v128.load(b + at), v128.load(c + at), v128.load(d + at), out + <usize>i * SQUARE_ROW);
    }
    for (; i < count; i++) {
      const at = (<usize>i) << 2;
      const four = f32x4(load<f32>(a + at), load<f32>(b + at), load<f32>(c + at), load<f32>(d + at));
      v128.store(out + <usize>i * SQUARE_ROW, four);
    }
  }
  for (; r < rows; r++) {
    const row = x + <usize>r * xRow;
    const out = square + ((<usize>r) << 2);
    for (let i = 0; i < count; i++) store<f32>(out + <usize>i * SQUARE_ROW, load<f32>(row + ((<usize>i) << 2)));
  }
}

/** The same for 16-bit floats, which become float32. */
// @ts-ignore: decorator
@inline
function turnHalves(x: usize, rows: i32, xRow: usize, count: i32, bfloat16: bool, square: usize): void {
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const row = x + <usize>r * xRow;
    const out = square + ((<usize>r) << 2);
    let i = 0;
    for (; i + 8 <= count; i += 8) {
      const at = row + ((<usize>i) << 1);
      const a = v128.load(at);
      const b = v128.load(at + xRow);
      const c = v128.load(at + 2 * xRow);
      const d = v128.load(at + 3 * xRow);
      const to = out + <usize>i * SQUARE_ROW;
      storeTransposed(widenLow(a, bfloat16), widenLow(b, bfloat16), widenLow(c, bfloat16), widenLow(d, bfloat16), to);
      storeTransposed(
        widenHigh(a, bfloat16), widenHigh(b, bfloat16), widenHigh(c, bfloat16), widenHigh(d, bfloat16), to + 4 * SQUARE_ROW,
      );
    }
    for (; i < count; i++) {
      const at = row + ((<usize>i) << 1);
      for (let k = 0; k < 4; k++) {
        const value = widenOne(at + <usize>k * xRow, bfloat16);
        store<f32>(out + <usize>i * SQUARE_ROW + ((<usize>k) << 2), value);
      }
    }
  }
  for (; r < rows; r++) {
    const row = x + <usize>r * xRow;
    const out = square + ((<usize>r) << 2);
    for (let i = 0; i < count; i++) {
      store<f32>(out + <usize>i * SQUARE_ROW, widenOne(row + ((<usize>i) << 1), bfloat16));
    }
  }
}

/** Moves `rows` rows of `count` floats, at most a square. */
function place(square: usize, rows: i32, count: i32, y: usize, yRow: usize): void {
  for (let r = 0; r < rows; r++) {
    const from = square + <usize>r * SQUARE_ROW;
    const to = y + <usize>r * yRow;
    let i = 0;
    for (; i + 4 <= count; i += 4) v128.store(to + ((<usize>i) << 2), v128.load(from + ((<usize>i) << 2)));
    for (; i < count; i++) store<f32>(to + ((<usize>i) << 2), load<f32>(from + ((<usize>i) << 2)));
  }
}

/**
 * y[i, j] = x[j, i] for `rows` rows of `x`, `count` floats of each. Rows lie `xRow` and `yRow` floats apart.
 */
export function transposeBlock(
  x: usize, rows: i32, xRow: i32, count: i32, y: usize, yRow: i32, scratch: usize,
): void {
  const xBytes = (<usize>xRow) << 2;
  const yBytes = (<usize>yRow) << 2;
  for (let i = 0; i < count; i += SIDE) {
    const columns = min(SIDE, count - i);
    for (let j = 0; j < rows; j += SIDE) {
      const height = min(SIDE, rows - j);
      turn(x + <usize>j * xBytes + ((<usize>i) << 2), height, xBytes, columns, scratch);
      place(scratch, columns, height, y + <usize>i * yBytes + ((<usize>j) << 2), yBytes);
    }
  }
}

/** The same from 16-bit floats of either kind, which become float32 on the way. */
export function transposeHalves(
  x: usize, rows: i32, xRow: i32, count: i32, bfloat16: bool, y: usize, yRow: i32, scratch: usize,
): void {
  const xBytes = (<usize>xRow) << 1;
  const yBytes = (<usize>yRow) << 2;
  for (let i = 0; i < count; i += SIDE) {
    const columns = min(SIDE, count - i);
    for (let j = 0; j < rows; j += SIDE) {
      const height = min(SIDE, rows - j);
      const from = x + <usize>j * xBytes + ((<usize>i) << 1);
      if (bfloat16) turnHalves(from, height, xBytes, columns, true, scratch);
      else turnHalves(from, height, xBytes, columns, false, scratch);
      place(scratch, columns, height, y + <usize>i * yBytes + ((<usize>j) << 2), yBytes);
    }
  }
}
