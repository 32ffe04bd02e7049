import { decodeValues, type PackedRows, packRows } from '@therapeutic-moe/checkpoint';
import { type FrozenDtype, wordsPerRow } from '@therapeutic-moe/kernels';
import type { StoredRows } from './parameter-sink.js';

/** Gathers the rows of one matrix of a file, whatever parts they come in. */
export interface RowCollector {
  put(stored: StoredRows): void;
  /** Whether every row has come. */
  readonly isWhole: boolean;
  /** What has come, with a row for each output. */
  packed(): PackedRows;
}

const STORED_AS = { I8: 'int8', BF16: 'bfloat16', F16: 'float16', F32: undefined } as const;

/** Rows of a file that are rows of outputs: kept as they are where the file has the wanted type, packed as they come elsewhere. */
export function outputRows(rows: number, width: number, dtype: FrozenDtype): RowCollector {
  const words = wordsPerRow(width, dtype);
  const packed = new Int32Array(rows * words);
  const scales = dtype === 'int8' ? new Float32Array(rows) : undefined;
  let missing = rows;
  return {
    put(stored) {
      const own = packed.subarray(stored.row * words, (stored.row + stored.rows) * words);
      const asIs = STORED_AS[stored.dtype] === dtype;
      if (asIs) copyRows(stored, own, words);
      const made = asIs ? stored : packRows(widen(stored), [stored.rows, width], dtype);
      if ('packed' in made) own.set(made.packed);
      if (made.scales) scales?.set(made.scales, stored.row);
      missing -= stored.rows;
    },
    get isWhole() {
      return missing === 0;
    },
    packed: () => (scales ? { packed, scales } : { packed }),
  };
}

/** Rows of a file that are rows of inputs, as our own layout has them: kept as numbers, and turned when all have come. */
export function inputRows(rows: number, width: number, dtype: FrozenDtype): RowCollector {
  const values = new Float32Array(rows * width);
  let missing = rows;
  return {
    put(stored) {
      values.set(widen(stored), stored.row * width);
      missing -= stored.rows;
    },
    get isWhole() {
      return missing === 0;
    },
    packed: () => packRows(transpose(values, rows, width), [width, rows], dtype),
  };
}

function copyRows({ bytes, rows }: StoredRows, target: Int32Array, words: number): void {
  const to = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
  const length = bytes.length / rows;
  if (length === 4 * words) to.set(bytes);
  else for (let row = 0; row < rows; row++) to.set(bytes.subarray(row * length, (row + 1) * length), 4 * row * words);
}

function widen({ dtype, bytes, rows, width, scales }: StoredRows): Float32Array {
  const values = new Float32Array(rows * width);
  decodeValues(dtype, bytes, values);
  scales?.forEach((scale, row) => {
    for (let i = row * width; i < (row + 1) * width; i++) values[i]! *= scale;
  });
  return values;
}

/** @param values `[rows, columns]` @returns `[columns, rows]` */
function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column]!;
  return turned;
}
