import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { productBlocks, ranges, stripWidth } from './split.js';
import { type KernelCall, SCRATCH } from './threads.js';

/** A matrix in the heap: its address and, in floats, from one row and one column to the next. */
interface Strided {
  readonly at: number;
  readonly row: number;
  readonly column: number;
}

/** The matrix products: tfjs-wasm's own BatchMatMul is fast only for one rank-2 product without transposes. */
export function installProducts(heap: WasmHeap): void {
  const { module } = heap;
  const run = (calls: KernelCall[], work: number) => heap.run(calls, work, module.gemmScratchBytes());

  replaceKernel('BatchMatMul', 'wasm', ({ inputs, attrs }) => {
    const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const { transposeA, transposeB } = attrs as unknown as { transposeA: boolean; transposeB: boolean };
    if (a.dtype !== 'float32' || b.dtype !== 'float32') {
      throw new Error(`matMul: both operands must be float32 on wasm, got ${a.dtype} and ${b.dtype}; cast them.`);
    }
    const [aRows, aColumns] = a.shape.slice(-2) as [number, number];
    const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
    const m = transposeA ? aColumns : aRows;
    const k = transposeA ? aRows : aColumns;
    const n = transposeB ? bRows : bColumns;
    const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
    const count = tf.util.sizeFromShape(batch);
    const itemA = batchItem(a.shape, batch);
    const itemB = batchItem(b.shape, batch);
    const out = heap.output([...batch, m, n]);
    if (k === 0) {
      heap.view(out).fill(0);
      return out;
    }
    const [A, B, C] = [heap.address(a), heap.address(b), heap.address(out)];
    const work = count * m * n * k;
    const product = (rows: number, item: number, aItem: number, bItem: number) => {
      const left = { at: A + aItem * m * k * 4, row: transposeA ? 1 : k, column: transposeA ? m : 1 };
      const right = { at: B + bItem * k * n * 4, row: transposeB ? 1 : n, column: transposeB ? k : 1 };
      return productCalls(rows, n, k, left, right, C + item * m * n * 4, work);
    };
    const oneRight = !transposeA && tf.util.sizeFromShape(b.shape) === k * n;
    const calls =
      oneRight && tf.util.sizeFromShape(a.shape) === count * m * k
        ? product(count * m, 0, 0, 0) // one right-hand side for the whole batch: a single tall product
        : Array.from({ length: count }, (_, i) => product(m, i, itemA(i), itemB(i))).flat();
    run(calls, work);
    return out;
  });

  replaceKernel('GroupedMatMul', 'wasm', ({ inputs, attrs }) => {
    const { x, weights } = inputs as { x: tf.TensorInfo; weights: tf.TensorInfo };
    const { offsets, transposeWeights } = attrs as unknown as { offsets: number[]; transposeWeights: boolean };
    const [, first, second] = weights.shape as [number, number, number];
    const [k, n] = transposeWeights ? [second, first] : [first, second];
    const [row, column] = transposeWeights ? [1, second] : [second, 1];
    const out = heap.output([x.shape[0]!, n]);
    const [X, W, Y] = [heap.address(x), heap.address(weights), heap.address(out)];
    const work = x.shape[0]! * n * k;
    const calls = groups(offsets).flatMap(({ expert, start, rows }) => {
      const left = { at: X + start * k * 4, row: k, column: 1 };
      const right = { at: W + expert * first * second * 4, row, column };
      return productCalls(rows, n, k, left, right, Y + start * n * 4, work);
    });
    run(calls, work);
    heap.view(out).fill(0, offsets.at(-1)! * n); // rows of no expert
    return out;
  });

  // out[e] = a[rows of e]^T b[rows of e]: the gradient of the grouped product's weights.
  replaceKernel('GroupedOuterProduct', 'wasm', ({ inputs, attrs }) => {
    const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const { offsets } = attrs as unknown as { offsets: number[] };
    const [m, n] = [a.shape[1]!, b.shape[1]!];
    const out = heap.output([offsets.length - 1, m, n]);
    const [A, B, C] = [heap.address(a), heap.address(b), heap.address(out)];
    const values = heap.view(out);
    for (let e = 0; e + 1 < offsets.length; e++) {
      if (offsets[e] === offsets[e + 1]) values.fill(0, e * m * n, (e + 1) * m * n); // an expert without tokens
    }
    const work = a.shape[0]! * m * n;
    const calls = groups(offsets).flatMap(({ expert, start, rows }) => {
      const left = { at: A + start * m * 4, row: 1, column: m };
      const right = { at: B + start * n * 4, row: n, column: 1 };
      return productCalls(m, n, rows, left, right, C + expert * m * n * 4, work);
    });
    run(calls, work);
    return out;
  });
}

/** The groups that have rows. */
export function groups(offsets: readonly number[]): { expert: number; start: number; rows: number }[] {
  return offsets
    .slice(0, -1)
    .map((start, expert) => ({ expert, start, rows: offsets[expert + 1]! - start }))
    .filter(({ rows }) => rows > 0);
}

/** One product [m, k] x [k, n] to row-major `c`, in calls that may run apart; `total` counts all that run together. */
function productCalls(m: number, n: number, k: number, a: Strided, b: Strided, c: number, total: number): KernelCall[] {
  if (m === 1 && a.column === 1) return rowCalls(n, k, a.at, b, c);
  return productBlocks(m, n, k, total).map(({ rows, columns }) => [
    'gemm',
    rows.count,
    columns.count,
    k,
    a.at + rows.first * a.row * 4,
    a.row,
    a.column,
    b.at + columns.first * b.column * 4,
    b.row,
    b.column,
    c + (rows.first * n + columns.first) * 4,
    n,
    SCRATCH,
    0,
  ]);
}

/** A single row streams its right-hand side once, so it is not packed. */
function rowCalls(n: number, k: number, x: number, b: Strided, y: number): KernelCall[] {
  return ranges(n, stripWidth(k)).map(({ first, count }) => {
    const [right, out] = [b.at + first * b.column * 4, y + first * 4];
    return b.column === 1
      ? ['gemvRows', count, k, x, right, b.row, out, 0]
      : ['gemvColumns', count, k, x, right, b.column, out];
  });
}

/** Maps an item of the broadcast batch to the item of one operand. */
function batchItem(shape: readonly number[], batch: readonly number[]): (item: number) => number {
  const own = shape.slice(0, -2);
  const padded = [...Array<number>(batch.length - own.length).fill(1), ...own];
  if (padded.every((size, i) => size === batch[i])) return (item) => item;
  return (item) => {
    let rest = item;
    let at = 0;
    let stride = 1;
    for (let i = batch.length - 1; i >= 0; i--) {
      at += padded[i] === 1 ? 0 : (rest % batch[i]!) * stride;
      rest = Math.floor(rest / batch[i]!);
      stride *= padded[i]!;
    }
    return at;
  };
}
