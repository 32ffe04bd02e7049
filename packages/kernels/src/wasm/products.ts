import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';

/** The matrix products: tfjs-wasm's own BatchMatMul is fast only for one rank-2 product without transposes. */
export function installProducts(heap: WasmHeap): void {
  const { module } = heap;
  const scratch = () => heap.scratch(module.gemmScratchBytes());

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
    const work = scratch();
    const [A, B, C] = [heap.address(a), heap.address(b), heap.address(out)];
    const product = (rows: number, at: number, bAt: number, cAt: number) => {
      if (k === 0) heap.view(out).fill(0);
      else if (rows === 1 && !transposeB) module.gemvRows(n, k, at, bAt, n, cAt, false);
      else if (rows === 1) module.gemvColumns(n, k, at, bAt, k, cAt);
      else {
        const [aRow, aColumn] = transposeA ? [1, m] : [k, 1];
        const [bRow, bColumn] = transposeB ? [1, k] : [n, 1];
        module.gemm(rows, n, k, at, aRow, aColumn, bAt, bRow, bColumn, cAt, n, work, false);
      }
    };
    if (
      count > 1 &&
      !transposeA &&
      tf.util.sizeFromShape(b.shape) === k * n &&
      tf.util.sizeFromShape(a.shape) === count * m * k
    ) {
      product(count * m, A, B, C); // one right-hand side for the whole batch: a single tall product
      return out;
    }
    for (let i = 0; i < count; i++) product(m, A + itemA(i) * m * k * 4, B + itemB(i) * k * n * 4, C + i * m * n * 4);
    return out;
  });

  replaceKernel('GroupedMatMul', 'wasm', ({ inputs, attrs }) => {
    const { x, weights } = inputs as { x: tf.TensorInfo; weights: tf.TensorInfo };
    const { offsets, transposeWeights } = attrs as unknown as { offsets: number[]; transposeWeights: boolean };
    const [, first, second] = weights.shape as [number, number, number];
    const [k, n] = transposeWeights ? [second, first] : [first, second];
    const [bRow, bColumn] = transposeWeights ? [1, second] : [second, 1];
    const out = heap.output([x.shape[0]!, n]);
    const work = scratch();
    const [X, W, Y] = [heap.address(x), heap.address(weights), heap.address(out)];
    for (let e = 0; e + 1 < offsets.length; e++) {
      const rows = offsets[e + 1]! - offsets[e]!;
      const [at, weight, target] = [X + offsets[e]! * k * 4, W + e * first * second * 4, Y + offsets[e]! * n * 4];
      if (rows === 1 && !transposeWeights) module.gemvRows(n, k, at, weight, n, target, false);
      else if (rows > 0) module.gemm(rows, n, k, at, k, 1, weight, bRow, bColumn, target, n, work, false);
    }
    heap.view(out).fill(0, offsets.at(-1)! * n); // rows of no expert
    return out;
  });

  // out[e] = a[rows of e]^T b[rows of e]: the gradient of the grouped product's weights.
  replaceKernel('GroupedOuterProduct', 'wasm', ({ inputs, attrs }) => {
    const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const { offsets } = attrs as unknown as { offsets: number[] };
    const [m, n] = [a.shape[1]!, b.shape[1]!];
    const out = heap.output([offsets.length - 1, m, n]);
    const work = scratch();
    const [A, B, C] = [heap.address(a), heap.address(b), heap.address(out)];
    const values = heap.view(out);
    for (let e = 0; e + 1 < offsets.length; e++) {
      const rows = offsets[e + 1]! - offsets[e]!;
      if (rows === 0)
        values.fill(0, e * m * n, (e + 1) * m * n); // an expert without tokens
      else
        module.gemm(
          m,
          n,
          rows,
          A + offsets[e]! * m * 4,
          1,
          m,
          B + offsets[e]! * n * 4,
          n,
          1,
          C + e * m * n * 4,
          n,
          work,
          false,
        );
    }
    return out;
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
