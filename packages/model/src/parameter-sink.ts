import * as tf from '@tensorflow/tfjs-core';
import { type DecodableDtype, decodeValues } from '@therapeutic-moe/checkpoint';
import { type HalfBlock, writeBlock, writesBlocks, writeTransposed } from '@therapeutic-moe/kernels';
import type { TensorPiece } from './hugging-face/tensor-map.js';

/** Some rows of one tensor of a checkpoint, as stored. */
export interface StoredRows {
  /** Which matrix of the tensor, counted over all leading dimensions. */
  readonly matrix: number;
  /** The first row in that matrix. */
  readonly row: number;
  readonly rows: number;
  /** Values of a row. */
  readonly width: number;
  readonly dtype: DecodableDtype;
  /**
   * `rows * width` values, little-endian, from a multiple of 4 on in a buffer that has room up to the next. Only lent:
   * the memory is used again after `write`.
   */
  readonly bytes: Uint8Array;
  /** `[rows]`, what I8 values are multiplied by. */
  readonly scales?: Float32Array;
}

/** What `decode` reads of rows. */
type Decodable = Pick<StoredRows, 'dtype' | 'bytes' | 'scales' | 'width'>;

/** Where the values of one parameter go as they come from a file, each row once. */
export interface ParameterSink {
  write(piece: TensorPiece, stored: StoredRows): void;
}

/**
 * Fills a variable with float32 values: in place where the backend can, so that beside the variable the device holds
 * the rows of one part.
 *
 * @param staging room for the values of a part; shared by all sinks of a load.
 */
export function variableSink(variable: tf.Variable, staging: Float32Array): ParameterSink {
  return {
    write(piece, stored) {
      const { rows, width } = stored;
      const whole = rows * width === variable.size && !(variable.rank > 1 && writesBlocks());
      tf.tidy(() => {
        const next = whole
          ? asWhole(piece, stored, variable.shape)
          : place(variable, piece, stored, blockOf(stored, staging));
        if (next !== variable) variable.assign(next);
      });
    },
  };
}

/** Halves as they are, where the backend widens them while it writes. */
function blockOf(stored: StoredRows, staging: Float32Array): tf.Tensor2D | HalfBlock {
  const { rows, width, dtype, bytes } = stored;
  const size = rows * width;
  if (!writesBlocks() || (dtype !== 'BF16' && dtype !== 'F16'))
    return tf.tensor2d(decode(stored, staging.subarray(0, size)), [rows, width]);
  const words = tf.tensor1d(new Int32Array(bytes.buffer, bytes.byteOffset, Math.ceil(size / 2)), 'int32');
  return { dtype: dtype === 'BF16' ? 'bfloat16' : 'float16', shape: [rows, width], words };
}

/** Widens rows to float32 and multiplies them by their scales. @param target as many values; overwritten and returned. */
export function decode({ dtype, bytes, scales, width }: Decodable, target: Float32Array): Float32Array {
  decodeValues(dtype, bytes, target);
  scales?.forEach((scale, row) => {
    for (let i = row * width; i < (row + 1) * width; i++) target[i]! *= scale;
  });
  return target;
}

/** In memory of its own: a backend may keep the array of a tensor that becomes the variable. */
function asWhole({ rowStride }: TensorPiece, stored: StoredRows, shape: number[]): tf.Tensor {
  const { rows, width } = stored;
  const block = tf.tensor2d(decode(stored, new Float32Array(rows * width)), [rows, width]);
  return tf.reshape(rowStride === undefined ? block : tf.transpose(block), shape);
}

/** Hugging Face's rows are our columns, but where the piece is the parameter as it stands. */
function place(
  variable: tf.Variable,
  piece: TensorPiece,
  stored: StoredRows,
  block: tf.Tensor2D | HalfBlock,
): tf.Tensor {
  const [rows, columns] = variable.shape.slice(-2) as [number, number];
  const { matrix, row, width } = stored;
  const { start, rowStride, shape } = piece;
  const at =
    rowStride === undefined ? start + (matrix * shape.at(-2)! + row) * width : start + matrix * rowStride * width + row;
  const line = Math.floor(at / columns);
  const target = { matrix: Math.floor(line / rows), row: line % rows, column: at % columns };
  return rowStride === undefined ? writeBlock(variable, block, target) : writeTransposed(variable, block, target);
}
