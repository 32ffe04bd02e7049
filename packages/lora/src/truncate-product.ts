import type { CombinedFactors } from './combine-factors.js';
import { type HostMatrix, orthonormal, svd } from './svd.js';

/**
 * The nearest product of a given rank (Eckart and Young, 1936), computed within the space that the factors span: the
 * whole matrix is never built unless the ranks together exceed both of its sides.
 *
 * @returns factors of that rank, A's columns of length 1; where there are fewer singular values the rest are zeros.
 */
export function truncateProduct({ a, b }: CombinedFactors, rank: number): CombinedFactors {
  const [left, right] = [columnsOf(a), rowsOf(b)];
  const [inputs, outputs] = [spanOf(left, a.rows), spanOf(right, b.columns)];
  const within = outerSum(
    left.map((vector) => project(inputs, vector)),
    right.map((vector) => project(outputs, vector)),
  );
  const found = Math.min(rank, within.rows, within.columns);
  const { u, s, v } = svd(within, found);
  const result = {
    a: { values: new Float64Array(a.rows * rank), rows: a.rows, columns: rank },
    b: { values: new Float64Array(rank * b.columns), rows: rank, columns: b.columns },
  };
  for (let i = 0; i < found; i++) {
    for (const [row, value] of combine(inputs, u[i]!).entries()) result.a.values[row * rank + i] = value;
    result.b.values.set(
      combine(outputs, v[i]!).map((value) => s[i]! * value),
      i * b.columns,
    );
  }
  return result;
}

/** Perpendicular directions that span the vectors, or the whole space where these are more than its dimensions. */
function spanOf(vectors: readonly Float64Array[], dimensions: number): Float64Array[] {
  if (vectors.length <= dimensions) return orthonormal(vectors);
  return Array.from({ length: dimensions }, (_, i) => new Float64Array(dimensions).fill(1, i, i + 1));
}

function columnsOf({ values, rows, columns }: HostMatrix): Float64Array[] {
  return Array.from({ length: columns }, (_, column) =>
    Float64Array.from({ length: rows }, (_, row) => values[row * columns + column]!),
  );
}

function rowsOf({ values, rows, columns }: HostMatrix): Float64Array[] {
  return Array.from({ length: rows }, (_, row) =>
    Float64Array.from(values.subarray(row * columns, (row + 1) * columns)),
  );
}

/** How far a vector goes along each direction. */
function project(directions: readonly Float64Array[], vector: Float64Array): Float64Array {
  return Float64Array.from(directions, (direction) => {
    let sum = 0;
    for (let i = 0; i < vector.length; i++) sum += direction[i]! * vector[i]!;
    return sum;
  });
}

function combine(directions: readonly Float64Array[], weights: Float64Array): Float64Array {
  const sum = new Float64Array(directions[0]!.length);
  for (const [i, direction] of directions.entries())
    for (let at = 0; at < sum.length; at++) sum[at]! += weights[i]! * direction[at]!;
  return sum;
}

/** The sum of `left_i right_i^T`, `[left's length, right's length]`. */
function outerSum(left: readonly Float64Array[], right: readonly Float64Array[]): HostMatrix {
  const [rows, columns] = [left[0]!.length, right[0]!.length];
  const values = new Float64Array(rows * columns);
  for (const [i, vector] of left.entries())
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        values[row * columns + column]! += vector[row]! * right[i]![column]!;
  return { values, rows, columns };
}
