import { decode, type ParameterSink } from '../parameter-sink.js';
import { turn } from '../turn.js';

/**
 * Fills an array with the float32 values of one parameter in our arrangement.
 *
 * @param staging room for the values of a part.
 */
export function arraySink(values: Float32Array, staging: Float32Array): ParameterSink {
  return {
    write({ start, rowStride, shape }, stored) {
      const { matrix, row, rows, width } = stored;
      if (rowStride === undefined) {
        const at = start + (matrix * (shape.at(-2) ?? 1) + row) * width;
        decode(stored, values.subarray(at, at + rows * width));
        return;
      }
      const from = { values: decode(stored, staging.subarray(0, rows * width)), start: 0, stride: width };
      turn(from, { values, start: start + row, stride: rowStride }, [width, rows]);
    },
  };
}
