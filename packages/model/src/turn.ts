/** Rows of a matrix in a larger array. */
export interface Rows {
  readonly values: Float32Array | Uint32Array | Uint16Array;
  /** Where the first row starts. */
  readonly start: number;
  /** From one row to the next. */
  readonly stride: number;
}

/** Both arrays of one square fit the processor's first cache. */
const SQUARE = 32;

/** Writes the columns of a matrix as rows of another, `[rows, columns]`, in squares. */
export function turn(from: Rows, to: Rows, [rows, columns]: readonly [number, number]): void {
  const [source, target] = [from.values, to.values];
  for (let top = 0; top < rows; top += SQUARE)
    for (let left = 0; left < columns; left += SQUARE) {
      const [bottom, right] = [Math.min(rows, top + SQUARE), Math.min(columns, left + SQUARE)];
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++)
          target[to.start + row * to.stride + column] = source[from.start + column * from.stride + row]!;
    }
}
