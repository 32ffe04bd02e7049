import * as tf from '@tensorflow/tfjs-core';
import { copyRows, rowsOfItems } from '../copy-rows.js';
import { replaceKernel } from '../replace-kernel.js';
import type { BlockPlace, HalvesPlace } from '../write-block.js';
import type { WasmHeap } from './heap.js';
import { CALL_VALUES, MOVE, type Range, ranges } from './split.js';
import { SCRATCH } from './threads.js';

/** Rows that one call of a transposition writes: few enough for the processor to keep the place of each page. */
const TRANSPOSED_ROWS = 256;

/** Moving whole rows: gather, its gradient, writing in place, and the combine step of a Mixture of Experts. */
export function installRows(heap: WasmHeap): void {
  const { module } = heap;

  // tfjs-wasm's GatherV2 moves single elements and does not check; rows along axis 0 can be moved whole.
  const stockGather = tf.getKernel('GatherV2', 'wasm')!.kernelFunc;
  replaceKernel('GatherV2', 'wasm', (call) => {
    const { x, indices } = call.inputs as { x: tf.TensorInfo; indices: tf.TensorInfo };
    const { axis, batchDims } = call.attrs as unknown as { axis: number; batchDims: number };
    if (
      batchDims ||
      tf.util.parseAxisParam(axis, x.shape)[0] !== 0 ||
      x.dtype === 'string' ||
      indices.dtype !== 'int32'
    ) {
      return stockGather(call);
    }
    const inner = x.shape.slice(1);
    const width = tf.util.sizeFromShape(inner) * tf.util.bytesPerElement(x.dtype);
    const count = tf.util.sizeFromShape(indices.shape);
    const out = heap.output([...indices.shape, ...inner], x.dtype);
    const bad = module.gatherRows(heap.address(x), x.shape[0]!, width, heap.address(indices), count, heap.address(out));
    if (bad >= 0) {
      tf.backend().disposeData(out.dataId);
      throw new Error(`gather: index ${heap.view(indices)[bad]} at position ${bad} is outside [0, ${x.shape[0]}).`);
    }
    return out;
  });

  // Absent from tfjs-wasm; the gradient of every gather needs it.
  replaceKernel('UnsortedSegmentSum', 'wasm', ({ inputs, attrs }) => {
    const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
    const { numSegments } = attrs as unknown as { numSegments: number };
    if (x.dtype !== 'float32')
      throw new Error(`unsortedSegmentSum: x must be float32 on wasm, got ${x.dtype}; cast it.`);
    const inner = x.shape.slice(segmentIds.shape.length);
    const count = tf.util.sizeFromShape(segmentIds.shape);
    const out = heap.output([numSegments, ...inner]);
    const width = tf.util.sizeFromShape(inner);
    module.scatterAddRows(heap.address(x), count, width, heap.address(segmentIds), heap.address(out), numSegments);
    return out;
  });

  replaceKernel('WriteRows', 'wasm', ({ inputs, attrs }) => {
    const { target, rows } = inputs as { target: tf.TensorInfo; rows: tf.TensorInfo };
    const { starts } = attrs as unknown as { starts: number[] };
    copyRows(heap.view(target), heap.view(rows), rowsOfItems(target, rows, starts));
    return [];
  });

  replaceKernel('WriteBlock', 'wasm', ({ inputs, attrs }) => {
    const { target, block } = inputs as { target: tf.TensorInfo; block: tf.TensorInfo };
    const { matrix, row, column, transposed } = attrs as unknown as BlockPlace & { transposed: boolean };
    const [rows, columns] = target.shape.slice(-2) as [number, number];
    const [height, width] = block.shape as [number, number];
    const start = (matrix * rows + row) * columns + column;
    if (!transposed) {
      const pieces = ranges(height, 1).map(({ first }) => ({
        from: first * width,
        to: start + first * columns,
        count: width,
      }));
      copyRows(
        heap.view(target),
        heap.view(block),
        width === columns ? [{ from: 0, to: start, count: height * width }] : pieces,
      );
      return [];
    }
    const [X, Y] = [heap.address(block), heap.address(target) + 4 * start];
    const calls = ranges(width, TRANSPOSED_ROWS).map(
      ({ first, count }) =>
        ['transposeBlock', X + 4 * first, height, width, count, Y + 4 * first * columns, columns, SCRATCH] as const,
    );
    heap.run(calls, height * width * MOVE, module.transposeScratchBytes());
    return [];
  });

  replaceKernel('WriteHalves', 'wasm', ({ inputs, attrs }) => {
    const { target, words } = inputs as { target: tf.TensorInfo; words: tf.TensorInfo };
    const { matrix, row, column, transposed, shape, bfloat16 } = attrs as unknown as HalvesPlace;
    const [rows, columns] = target.shape.slice(-2) as [number, number];
    const [height, width] = shape;
    const [X, Y] = [heap.address(words), heap.address(target) + 4 * ((matrix * rows + row) * columns + column)];
    const kind = Number(bfloat16);
    const runs = width === columns ? [{ first: 0, count: height }] : ranges(height, 1);
    const calls = transposed
      ? ranges(width, TRANSPOSED_ROWS).map(
          ({ first, count }) =>
            [
              'transposeHalves',
              X + 2 * first,
              height,
              width,
              count,
              kind,
              Y + 4 * first * columns,
              columns,
              SCRATCH,
            ] as const,
        )
      : runs.flatMap((run) =>
          ranges(run.count * width, CALL_VALUES).map(({ first, count }) => {
            const [from, to] = [run.first * width + first, run.first * columns + first];
            return ['widenHalves', X + 2 * from, count, kind, Y + 4 * to] as const;
          }),
        );
    heap.run(calls, height * width * MOVE, module.transposeScratchBytes());
    return [];
  });

  replaceKernel('Unfilled', 'wasm', ({ attrs }) => heap.output((attrs as unknown as { shape: number[] }).shape));

  replaceKernel('TakeRows', 'wasm', ({ inputs }) => {
    const { x, indices } = inputs as { x: tf.TensorInfo; indices: tf.TensorInfo };
    const [rows, width] = x.shape as [number, number];
    const out = heap.output([...indices.shape, width]);
    const count = tf.util.sizeFromShape(indices.shape);
    module.takeRows(heap.address(x), rows, width, heap.address(indices), count, heap.address(out));
    return out;
  });

  replaceKernel('CombineRows', 'wasm', ({ inputs }) => {
    const { rows, weights, rowOfChoice } = inputs as Record<string, tf.TensorInfo>;
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const [slots, width] = rows!.shape as [number, number];
    const out = heap.output([tokens, width]);
    const [X, S, Y] = [heap.address(rows!), heap.address(rowOfChoice!), heap.address(out)];
    const W = weights && heap.address(weights);
    const calls = tokenRanges(tokens, k, width).map(({ first, count }) => {
      const factors = W === undefined ? 0 : W + first * k * 4;
      return ['combineRows', X, slots, width, S + first * k * 4, factors, count, k, Y + first * width * 4] as const;
    });
    heap.run(calls, tokens * k * width * MOVE);
    return out;
  });

  replaceKernel('CombineRowsGradient', 'wasm', ({ inputs, attrs }) => {
    const { dy, rows, weights, rowOfChoice } = inputs as Record<string, tf.TensorInfo>;
    const { complete } = attrs as unknown as { complete: boolean };
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const [slots, width] = rows!.shape as [number, number];
    const dRows = heap.output(rows!.shape);
    const dWeights = heap.output([tokens, k]);
    if (!complete) heap.view(dRows).fill(0); // no choice writes an empty row
    const [G, X, S] = [heap.address(dy!), heap.address(rows!), heap.address(rowOfChoice!)];
    const [W, D, E] = [heap.address(weights!), heap.address(dRows), heap.address(dWeights)];
    const calls = tokenRanges(tokens, k, width).map(({ first, count }) => {
      const [row, choice] = [first * width * 4, first * k * 4];
      return [
        'combineRowsGradient',
        G + row,
        X,
        slots,
        width,
        S + choice,
        W + choice,
        count,
        k,
        D,
        E + choice,
      ] as const;
    });
    heap.run(calls, 2 * tokens * k * width * MOVE);
    return [dRows, dWeights];
  });
}

/** Ranges of tokens, each a call's worth of rows. A row belongs to one token, so ranges write apart from each other. */
function tokenRanges(tokens: number, k: number, width: number): Range[] {
  return ranges(tokens, Math.max(1, Math.floor(CALL_VALUES / (k * width))));
}
