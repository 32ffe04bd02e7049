import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { Operands } from './operands.js';
import { FLOAT, type Handle, type RawOps } from './raw-ops.js';

/** Rows of a bfloat16 group are a multiple of this power of two. */
const ROW_STEP = 32;

/** The matrix products: single ones run TensorFlow's MatMul, which tfjs-node sends to the slower BatchMatMul. */
export function installProducts(ops: RawOps, operands: Operands): void {
  installMatMul(ops, operands);

  ops.register('GroupedMatMul', ({ x, weights }, attrs) => {
    const { offsets, transposeWeights } = attrs as { offsets: number[]; transposeWeights: boolean };
    const [, first, second] = weights!.shape as [number, number, number];
    const type = operands.typeFor(first, second);
    const matrices = ops.unstack(operands.read(weights!, type));
    const rows = rowsOfGroups(ops, operands.read(x!, type), offsets);
    const products = matrices.flatMap((matrix, e) => {
      const count = offsets[e + 1]! - offsets[e]!;
      return count === 0 ? [] : [firstRows(ops, ops.matMul(rows[e]!, matrix, false, transposeWeights), count)];
    });
    const ungrouped = x!.shape[0]! - offsets.at(-1)!;
    if (ungrouped > 0 || products.length === 0) {
      products.push(ops.cast(ops.fill([ungrouped, transposeWeights ? first : second], 0), type));
    }
    return ops.tensor(operands.result(ops.concat(products, 0)));
  });

  // out[e] = a[rows of e]^T b[rows of e]: the gradient of the grouped product's weights.
  ops.register('GroupedOuterProduct', ({ a, b }, attrs) => {
    const { offsets } = attrs as { offsets: number[] };
    const type = operands.typeFor(a!.shape[1]!, b!.shape[1]!);
    const [left, right] = [a!, b!].map((t) => rowsOfGroups(ops, operands.read(t, type), offsets)) as [
      Handle[],
      Handle[],
    ];
    // A product over no rows is a matrix of zeros.
    const products = offsets.slice(1).map((_, e) => ops.matMul(left[e]!, right[e]!, true));
    return ops.tensor(operands.result(ops.stack(products)));
  });
}

/** The rows of each group, and last those of none. bfloat16 groups are filled up. */
export function rowsOfGroups(ops: RawOps, x: Handle, offsets: readonly number[]): Handle[] {
  const ends = [...offsets.slice(1), x.shape[0]!];
  const groups = ops.splitV(
    x,
    ends.map((end, e) => end - offsets[e]!),
    0,
  );
  return x.dtype === FLOAT ? groups : fillUp(ops, groups);
}

/**
 * Adds zero rows up to a multiple of `ROW_STEP`. The products then have few shapes, and oneDNN compiles one for every
 * shape that it has not seen, which takes longer than a bfloat16 product itself.
 */
function fillUp(ops: RawOps, groups: readonly Handle[]): Handle[] {
  const { shape, dtype } = groups[0]!;
  const zeros = ops.cast(ops.fill([ROW_STEP, shape[1]!], 0), dtype);
  return groups.map((rows) => {
    const missing = -rows.shape[0]! & (ROW_STEP - 1);
    return missing === 0 ? rows : ops.concat([rows, firstRows(ops, zeros, missing)], 0);
  });
}

/** The first rows of a matrix. */
export function firstRows(ops: RawOps, x: Handle, count: number): Handle {
  return x.shape[0] === count ? x : ops.splitV(x, [count, x.shape[0]! - count], 0)[0]!;
}

function installMatMul(ops: RawOps, operands: Operands): void {
  const stock = tf.getKernel('BatchMatMul', 'tensorflow')!.kernelFunc;
  replaceKernel('BatchMatMul', 'tensorflow', (call) => {
    const { a, b } = call.inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const { transposeA, transposeB } = call.attrs as unknown as { transposeA: boolean; transposeB: boolean };
    const plain = a.dtype === 'float32' && b.dtype === 'float32' && isSingleMatrix(a) && isSingleMatrix(b);
    if (!plain || a.shape.length !== b.shape.length) return stock(call);
    return ops.scope(() => {
      const [first, second] = a.shape.slice(-2) as [number, number];
      const type = operands.typeFor(first, second, b.shape.at(transposeB ? -2 : -1)!);
      const [left, right] = [a, b].map((t) => asMatrix(ops, operands.read(t, type))) as [Handle, Handle];
      const product = operands.result(ops.matMul(left, right, transposeA, transposeB));
      const lead = a.shape.slice(0, -2);
      return ops.tensor(lead.length === 0 ? product : ops.reshape(product, [...lead, ...product.shape]));
    });
  });
}

function isSingleMatrix(t: tf.TensorInfo): boolean {
  return t.shape.slice(0, -2).every((size) => size === 1);
}

function asMatrix(ops: RawOps, x: Handle): Handle {
  return x.shape.length === 2 ? x : ops.reshape(x, x.shape.slice(-2));
}
