import * as tf from '@tensorflow/tfjs-core';
import type { FrozenDtype } from '../frozen-matrix.js';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { groups } from './products.js';
import { CALL_VALUES, MOVE, productBlocks, ranges, STREAM, stripWidth } from './split.js';
import { type KernelCall, SCRATCH } from './threads.js';

/** The numbers of the dtypes in `assembly/frozen.ts`, and what a weight takes. */
const KINDS: Readonly<Record<FrozenDtype, { number: number; bytes: number }>> = {
  int8: { number: 0, bytes: 1 },
  bfloat16: { number: 1, bytes: 2 },
  float16: { number: 2, bytes: 2 },
};

interface Attrs {
  readonly dtype: FrozenDtype;
  readonly inputSize: number;
  readonly backward: boolean;
  readonly offsets: readonly number[];
}

/** The matrix of one expert in the heap. */
interface FrozenAt {
  readonly kind: { number: number; bytes: number };
  readonly inputSize: number;
  readonly outputSize: number;
  readonly packed: number;
  readonly rowBytes: number;
  readonly scales: number;
}

/** Products with weights of fewer bytes, thawed in registers (one row) or while they are packed (many). */
export function installFrozen(heap: WasmHeap): void {
  const register = (name: string, run: (inputs: Record<string, tf.TensorInfo>, attrs: Attrs) => tf.TensorInfo) =>
    replaceKernel(name, 'wasm', ({ inputs, attrs }) =>
      run(inputs as Record<string, tf.TensorInfo>, attrs as unknown as Attrs),
    );
  const run = (calls: KernelCall[], work: number) => heap.run(calls, work, heap.module.frozenScratchBytes());

  register('ThawRows', ({ packed, scales, ids }, { dtype, inputSize }) => {
    if (ids) checkIds(heap.view(ids), packed!.shape[0]!);
    const outer = ids ? ids.shape : packed!.shape.slice(0, -1);
    const y = heap.output([...outer, inputSize]);
    const rows = tf.util.sizeFromShape(outer);
    const from = matrix(heap, packed!, scales, { dtype, inputSize });
    const [I, Y] = [ids ? heap.address(ids) : 0, heap.address(y)];
    const calls = ranges(rows, Math.max(1, Math.floor(CALL_VALUES / inputSize))).map(({ first, count }): KernelCall => {
      const own = ids ? from : rowsFrom(from, first);
      const out = Y + first * inputSize * 4;
      return [
        'thawRows',
        own.kind.number,
        own.packed,
        own.rowBytes,
        own.scales,
        ids ? I + first * 4 : 0,
        count,
        inputSize,
        out,
      ];
    });
    heap.run(calls, rows * inputSize * MOVE);
    return y;
  });

  register('FrozenMatMul', ({ x, packed, scales }, { dtype, inputSize, backward }) => {
    const rows = x!.shape[0]!;
    const outputSize = packed!.shape[0]!;
    const y = heap.output([rows, backward ? inputSize : outputSize]);
    const weight = matrix(heap, packed!, scales, { dtype, inputSize });
    const work = rows * inputSize * outputSize;
    run(
      productCalls(rows, weight, backward, heap.address(x!), heap.address(y), work),
      rows === 1 ? work * STREAM : work,
    );
    return y;
  });

  register('GroupedFrozenMatMul', ({ x, packed, scales }, { dtype, inputSize, backward, offsets }) => {
    const [rows, outputSize] = [x!.shape[0]!, packed!.shape[1]!];
    const [k, n] = backward ? [outputSize, inputSize] : [inputSize, outputSize];
    const y = heap.output([rows, n]);
    const weights = matrix(heap, packed!, scales, { dtype, inputSize });
    const [X, Y] = [heap.address(x!), heap.address(y)];
    const work = rows * n * k;
    const calls = groups(offsets).flatMap(({ expert, start, rows }) => {
      const weight = rowsFrom(weights, expert * outputSize);
      return productCalls(rows, weight, backward, X + start * k * 4, Y + start * n * 4, work);
    });
    run(calls, work);
    heap.view(y).fill(0, offsets.at(-1)! * n); // rows of no expert
    return y;
  });
}

function matrix(
  heap: WasmHeap,
  packed: tf.TensorInfo,
  scales: tf.TensorInfo | undefined,
  { dtype, inputSize }: Pick<Attrs, 'dtype' | 'inputSize'>,
): FrozenAt {
  const [outputSize, words] = packed.shape.slice(-2) as [number, number];
  const at = { packed: heap.address(packed), rowBytes: words * 4, scales: scales ? heap.address(scales) : 0 };
  return { kind: KINDS[dtype], inputSize, outputSize, ...at };
}

/** The rows from one on. */
function rowsFrom(weight: FrozenAt, row: number): FrozenAt {
  const { packed, rowBytes, scales } = weight;
  return { ...weight, packed: packed + row * rowBytes, scales: scales && scales + row * 4 };
}

/** One product in calls that may run apart; `total` counts the multiply-adds of all that run together. */
function productCalls(
  m: number,
  weight: FrozenAt,
  backward: boolean,
  x: number,
  y: number,
  total: number,
): KernelCall[] {
  const { kind, inputSize, outputSize } = weight;
  if (m === 1 && !backward) return rowCalls(weight, x, y);
  const [k, n] = backward ? [outputSize, inputSize] : [inputSize, outputSize];
  return productBlocks(m, n, k, total).map(({ rows, columns }) => {
    const own = backward
      ? { ...weight, packed: weight.packed + columns.first * kind.bytes }
      : rowsFrom(weight, columns.first);
    return [
      backward ? 'frozenGemmBack' : 'frozenGemm',
      kind.number,
      rows.count,
      columns.count,
      k,
      x + rows.first * k * 4,
      own.packed,
      own.rowBytes,
      own.scales,
      y + (rows.first * n + columns.first) * 4,
      n,
      SCRATCH,
    ];
  });
}

/** A single row streams the weight once. */
function rowCalls(weight: FrozenAt, x: number, y: number): KernelCall[] {
  const { kind, inputSize, outputSize } = weight;
  return ranges(outputSize, stripWidth(inputSize)).map(({ first, count }) => {
    const own = rowsFrom(weight, first);
    return ['frozenGemv', kind.number, count, inputSize, x, own.packed, own.rowBytes, own.scales, y + first * 4];
  });
}

/** An id past the rows would read another tensor's memory. */
function checkIds(ids: ArrayLike<number>, rows: number): void {
  for (let i = 0; i < ids.length; i++) {
    if (ids[i]! < 0 || ids[i]! >= rows) {
      throw new Error(`frozenRows: id ${ids[i]} at position ${i} is outside [0, ${rows}).`);
    }
  }
}
