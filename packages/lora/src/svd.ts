import * as tf from '@tensorflow/tfjs-core';
import { float32Products, matMul } from '@therapeutic-moe/kernels';

/** A matrix on the host, row by row. */
export interface HostMatrix {
  /** `[rows * columns]` */
  readonly values: Float32Array | Float64Array;
  readonly rows: number;
  readonly columns: number;
}

/** The first terms of `M = U diag(s) V^T`, largest first; vectors are given one by one. */
export interface Svd {
  /** `rank` vectors `[rows]`, of length 1 where their singular value is not 0. */
  readonly u: Float64Array[];
  /** `[rank]`, descending. */
  readonly s: Float64Array;
  /** `rank` vectors `[columns]`, likewise. */
  readonly v: Float64Array[];
}

/** Vectors whose cosine is less are perpendicular. Rounding of long vectors in float64 lies below. */
const PERPENDICULAR = 1e-13;
/** Jacobi rotations converge quadratically in the end; about ten sweeps are usual. */
const MOST_SWEEPS = 60;
/** A vector that loses all but this of its length to others depends on them. */
const DEPENDENT = 1e-13;
/** Directions beside the rank that a randomised decomposition follows (arXiv:0909.4061, section 4.2). */
const OVERSAMPLING = 8;

/**
 * The largest singular values of a matrix and their vectors, to the rounding of float64: a QR decomposition, then
 * one-sided Jacobi rotations (Golub and Van Loan, Matrix Computations, section 8.6.3). The whole matrix is decomposed
 * whatever the rank: for n, the shorter side, about `60 n^3` products on one core of the host, which is a second at 256
 * and minutes at 1024. `lowRankSvd` serves larger ones.
 *
 * @throws when the rank exceeds the shorter side.
 */
export function svd(matrix: HostMatrix, rank: number): Svd {
  checkRank('svd', matrix, rank);
  if (matrix.columns > matrix.rows) {
    const { u, s, v } = svd(transposed(matrix), rank);
    return { u: v, s, v: u };
  }
  const vectors = columnsOf(matrix);
  const basis = orthonormal(vectors);
  const within = basis.map((direction) => Float64Array.from(vectors, (vector) => dot(direction, vector)));
  return decomposeWithin(basis, within, rank);
}

/**
 * The largest singular values of a matrix and their vectors, approximately: subspace iteration from random directions
 * with a QR decomposition at each half step (arXiv:0909.4061, algorithms 4.4 and 5.1). The products with the matrix, two
 * an iteration of `rank + 8` columns each, run on the device in float32; the rest on the host in float64. The error of
 * the i-th term shrinks as `(s_(rank + 9) / s_i)^(2 iterations + 1)`; a matrix of rank `rank + 8` or less is met to the
 * rounding of float32.
 *
 * @param matrix `[rows, columns]`.
 * @param iterations 0 or more.
 * @param seed the same seed gives the same decomposition on the same backend.
 * @throws when the rank exceeds the shorter side.
 */
export async function lowRankSvd(matrix: tf.Tensor2D, rank: number, iterations: number, seed: number): Promise<Svd> {
  const [rows, columns] = matrix.shape;
  checkRank('lowRankSvd', { rows, columns }, rank);
  const directions = Math.min(rank + OVERSAMPLING, rows, columns);
  const draw = uniformDraws(seed);
  const start = Array.from({ length: directions }, () => new Float64Array(columns).map(draw));
  let basis = orthonormal(await timesOnDevice(start, matrix, true));
  for (let i = 0; i < iterations; i++) {
    const turned = orthonormal(await timesOnDevice(basis, matrix, false));
    basis = orthonormal(await timesOnDevice(turned, matrix, true));
  }
  return decomposeWithin(basis, await timesOnDevice(basis, matrix, false), rank);
}

/**
 * Perpendicular vectors of length 1 that span what the given ones span, the Q of a QR decomposition (Gram-Schmidt, each
 * twice). A vector that depends on those before it gives a random direction of its own.
 *
 * @param vectors at most as many as they are long.
 */
export function orthonormal(vectors: readonly Float64Array[]): Float64Array[] {
  const basis: Float64Array[] = [];
  const draw = uniformDraws(1);
  for (const vector of vectors) {
    const direction = vector.slice();
    let length = norm(direction);
    removeFrom(direction, basis);
    while (!(norm(direction) > DEPENDENT * length)) {
      for (let i = 0; i < direction.length; i++) direction[i] = draw();
      length = norm(direction);
      removeFrom(direction, basis);
    }
    scale(direction, 1 / norm(direction));
    removeFrom(direction, basis);
    scale(direction, 1 / norm(direction));
    basis.push(direction);
  }
  return basis;
}

/**
 * `M ~ Q (Q^T M)`, exactly where Q spans the columns of M: `M^T Q = W S Z^T` gives `M = (Q Z) S W^T`.
 *
 * @param basis the columns of Q. @param within those of `M^T Q`; used up.
 */
function decomposeWithin(basis: readonly Float64Array[], within: Float64Array[], rank: number): Svd {
  const { rotated, rotation } = jacobi(within);
  const lengths = rotated.map(norm);
  const order = lengths
    .map((_, i) => i)
    .sort((i, j) => lengths[j]! - lengths[i]!)
    .slice(0, rank);
  for (const i of order) if (lengths[i]! > 0) scale(rotated[i]!, 1 / lengths[i]!);
  return {
    u: order.map((i) => combine(basis, rotation[i]!)),
    s: Float64Array.from(order, (i) => lengths[i]!),
    v: order.map((i) => rotated[i]!),
  };
}

/**
 * Turns vectors, two by two, until all are perpendicular.
 *
 * @param vectors turned in place: `rotated = vectors rotation`.
 */
function jacobi(vectors: Float64Array[]): { rotated: Float64Array[]; rotation: Float64Array[] } {
  const rotation = vectors.map((_, i) => new Float64Array(vectors.length).fill(1, i, i + 1));
  const squares = vectors.map((vector) => dot(vector, vector));
  for (let sweep = 0, turned = true; turned && sweep < MOST_SWEEPS; sweep++) {
    turned = false;
    for (let i = 0; i < vectors.length; i++) {
      for (let j = i + 1; j < vectors.length; j++) {
        const [p, q] = [vectors[i]!, vectors[j]!];
        const along = dot(p, q);
        if (!(Math.abs(along) > PERPENDICULAR * Math.sqrt(squares[i]! * squares[j]!))) continue;
        turned = true;
        const zeta = (squares[j]! - squares[i]!) / (2 * along);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        turn(p, q, tangent);
        turn(rotation[i]!, rotation[j]!, tangent);
        squares[i] = dot(p, p);
        squares[j] = dot(q, q);
      }
    }
  }
  return { rotated: vectors, rotation };
}

function turn(p: Float64Array, q: Float64Array, tangent: number): void {
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let i = 0; i < p.length; i++) {
    const x = p[i]!;
    const y = q[i]!;
    p[i] = cosine * x - sine * y;
    q[i] = sine * x + cosine * y;
  }
}

/** Each vector times the matrix, or its transpose. */
async function timesOnDevice(
  vectors: readonly Float64Array[],
  matrix: tf.Tensor2D,
  transpose: boolean,
): Promise<Float64Array[]> {
  const length = vectors[0]!.length;
  const rows = new Float32Array(vectors.length * length);
  for (const [i, vector] of vectors.entries()) rows.set(vector, i * length);
  const product = tf.tidy(() =>
    float32Products(() => matMul(tf.tensor2d(rows, [vectors.length, length]), matrix, false, transpose)),
  );
  const [values, size] = [await product.data(), product.shape[1]!];
  product.dispose();
  return vectors.map((_, i) => Float64Array.from(values.subarray(i * size, (i + 1) * size)));
}

function transposed({ values, rows, columns }: HostMatrix): HostMatrix {
  const turned = new Float64Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column]!;
  return { values: turned, rows: columns, columns: rows };
}

function columnsOf(matrix: HostMatrix): Float64Array[] {
  const { values, rows, columns } = transposed(matrix);
  return Array.from({ length: rows }, (_, i) => (values as Float64Array).slice(i * columns, (i + 1) * columns));
}

/** Takes out of a vector what lies along each of the others, which are of length 1. */
function removeFrom(vector: Float64Array, others: readonly Float64Array[]): void {
  for (const other of others) add(vector, other, -dot(vector, other));
}

function combine(vectors: readonly Float64Array[], weights: Float64Array): Float64Array {
  const sum = new Float64Array(vectors[0]!.length);
  for (const [i, vector] of vectors.entries()) add(sum, vector, weights[i]!);
  return sum;
}

function add(target: Float64Array, vector: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i]! += factor * vector[i]!;
}

function scale(vector: Float64Array, factor: number): void {
  for (let i = 0; i < vector.length; i++) vector[i]! *= factor;
}

/** Four sums side by side, since one waits for each of its additions. */
function dot(a: Float64Array, b: Float64Array): number {
  let [s, t, u, v] = [0, 0, 0, 0];
  const whole = a.length & ~3;
  for (let i = 0; i < whole; i += 4) {
    s += a[i]! * b[i]!;
    t += a[i + 1]! * b[i + 1]!;
    u += a[i + 2]! * b[i + 2]!;
    v += a[i + 3]! * b[i + 3]!;
  }
  for (let i = whole; i < a.length; i++) s += a[i]! * b[i]!;
  return s + t + u + v;
}

function norm(vector: Float64Array): number {
  return Math.sqrt(dot(vector, vector));
}

/** Numbers in [-1, 1), the same for the same seed (mulberry32). */
export function uniformDraws(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

function checkRank(where: string, { rows, columns }: Pick<HostMatrix, 'rows' | 'columns'>, rank: number): void {
  if (rank > Math.min(rows, columns))
    throw new Error(`${where}: rank ${rank} exceeds the shorter side of [${rows}, ${columns}]; take a smaller rank.`);
}
