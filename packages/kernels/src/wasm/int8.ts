import * as tf from '@tensorflow/tfjs-core';
import { unpackedSizes } from '../int8.js';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { CALL_VALUES, MOVE, ranges } from './split.js';

/** Floats to 8 bits and back, in one pass over memory each way. */
export function installInt8(heap: WasmHeap): void {
  replaceKernel('PackInt8', 'wasm', ({ inputs }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const [outer, width] = [x.shape.slice(0, -1), x.shape.at(-1)!];
    const packed = heap.output([...outer, width / 4], 'int32');
    const scales = heap.output([...outer, 1]);
    const [X, P, S] = [x, packed, scales].map(heap.address) as [number, number, number];
    const rows = tf.util.sizeFromShape(outer);
    const calls = rowRanges(rows, width).map(
      ({ first, count }) =>
        ['packInt8', X + 4 * first * width, count, width, P + first * width, S + 4 * first] as const,
    );
    heap.run(calls, rows * width * MOVE);
    return [packed, scales];
  });

  replaceKernel('UnpackInt8', 'wasm', ({ inputs, attrs }) => {
    const { packed, scales } = inputs as Record<'packed' | 'scales', tf.TensorInfo>;
    const { batch, held, wanted, quarter, shape } = unpackedSizes(packed, (attrs as { rows?: number }).rows);
    const y = heap.output(shape);
    const [P, S, Y] = [packed, scales, y].map(heap.address) as [number, number, number];
    const calls = ranges(batch, 1).flatMap(({ first: item }) =>
      rowRanges(wanted, 4 * quarter).map(({ first, count }) => {
        const [from, to] = [item * held + first, item * wanted + first];
        const width = 4 * quarter;
        return ['unpackInt8', P + from * width, S + 4 * from, count, width, Y + 4 * to * width] as const;
      }),
    );
    heap.run(calls, batch * wanted * 4 * quarter * MOVE);
    return y;
  });
}

function rowRanges(rows: number, width: number) {
  return ranges(rows, Math.max(1, Math.floor(CALL_VALUES / width)));
}
