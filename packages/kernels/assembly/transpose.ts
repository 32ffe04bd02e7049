/** Rows of `x` that one tile reads: with 16 columns of `y` it fills whole cache lines. */
const LINE = 16;

// @ts-ignore: decorator
@inline
function transpose4(x: usize, xRow: usize, y: usize, yRow: usize): void {
  const a = v128.load(x);
  const b = v128.load(x + xRow);
  const c = v128.load(x + 2 * xRow);
  const d = v128.load(x + 3 * xRow);
  const ab = i32x4.shuffle(a, b, 0, 4, 1, 5);
  const cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  v128.store(y, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(y + yRow, i64x2.shuffle(ab, cd, 1, 3));
  const AB = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const CD = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(y + 2 * yRow, i64x2.shuffle(AB, CD, 0, 2));
  v128.store(y + 3 * yRow, i64x2.shuffle(AB, CD, 1, 3));
}

/**
 * y[i, j] = x[j, i] for `rows` rows of `x`, `count` floats of each. Rows lie `xRow` and `yRow` floats apart.
 */
export function transposeBlock(x: usize, rows: i32, xRow: i32, count: i32, y: usize, yRow: i32): void {
  const xBytes = (<usize>xRow) << 2;
  const yBytes = (<usize>yRow) << 2;
  for (let j = 0; j < rows; j += LINE) {
    const end = min(j + LINE, rows);
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const source = x + ((<usize>i) << 2);
      const target = y + <usize>i * yBytes;
      let r = j;
      for (; r + 4 <= end; r += 4) transpose4(source + <usize>r * xBytes, xBytes, target + ((<usize>r) << 2), yBytes);
      for (; r < end; r++) {
        for (let k = 0; k < 4; k++) {
          const value = load<f32>(source + <usize>r * xBytes + ((<usize>k) << 2));
          store<f32>(target + <usize>k * yBytes + ((<usize>r) << 2), value);
        }
      }
    }
    for (; i < count; i++) {
      for (let r = j; r < end; r++) {
        const value = load<f32>(x + <usize>r * xBytes + ((<usize>i) << 2));
        store<f32>(y + <usize>i * yBytes + ((<usize>r) << 2), value);
      }
    }
  }
}
