import { type DecodableDtype, type PackedRows, packRows } from '@therapeutic-moe/checkpoint';
import { type FrozenDtype, wordsPerRow } from '@therapeutic-moe/kernels';
import { decode, type StoredRows } from './parameter-sink.js';
import { type Rows, turn } from './turn.js';

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

/**
 * Rows of a file that are rows of inputs, as our own layout has them: turned as they come. Those of int8, whose scales take
 * a whole column, are kept as stored and turned when all have come.
 *
 * @param from how the file stores them: floats, since files of 8 bits have rows of outputs.
 */
export function inputRows(rows: number, width: number, dtype: FrozenDtype, from: DecodableDtype): RowCollector {
  return dtype === 'int8' ? turnedBytes(rows, width, from) : turnedHalves(rows, width, dtype);
}

function turnedHalves(rows: number, width: number, dtype: 'bfloat16' | 'float16'): RowCollector {
  const words = wordsPerRow(rows, dtype);
  const packed = new Int32Array(width * words);
  const columns = new Uint16Array(packed.buffer);
  let missing = rows;
  return {
    put(stored) {
      const halves = STORED_AS[stored.dtype] === dtype ? storedValues(stored) : roundedHalves(stored, dtype);
      turn(halves, { values: columns, start: stored.row, stride: 2 * words }, [width, stored.rows]);
      missing -= stored.rows;
    },
    get isWhole() {
      return missing === 0;
    },
    packed: () => ({ packed }),
  };
}

/** Columns that are turned and packed together: few, so that they take little memory beside the matrix. */
const columnsAtOnce = (width: number) => Math.min(16, Math.ceil(width / 16));

function turnedBytes(rows: number, width: number, dtype: DecodableDtype): RowCollector {
  const kept = valuesLike(dtype, rows * width);
  let missing = rows;
  return {
    put(stored) {
      kept.set(storedValues(stored).values, stored.row * width);
      missing -= stored.rows;
    },
    get isWhole() {
      return missing === 0;
    },
    packed() {
      const words = wordsPerRow(rows, 'int8');
      const [packed, scales] = [new Int32Array(width * words), new Float32Array(width)];
      for (let first = 0; first < width; first += columnsAtOnce(width)) {
        const columns = Math.min(columnsAtOnce(width), width - first);
        const turned = valuesLike(dtype, columns * rows);
        turn({ values: kept, start: first, stride: width }, { values: turned, start: 0, stride: rows }, [
          columns,
          rows,
        ]);
        const bytes = new Uint8Array(turned.buffer);
        const made = packRows(widen({ dtype, bytes, rows: columns, width: rows }), [columns, rows], 'int8');
        packed.set(made.packed, first * words);
        scales.set(made.scales!, first);
      }
      return { packed, scales };
    },
  };
}

/** Numbers as a file stores them, whatever they mean. */
function valuesLike(dtype: DecodableDtype, size: number): Uint32Array | Uint16Array {
  return dtype === 'F32' ? new Uint32Array(size) : new Uint16Array(size);
}

function storedValues({ dtype, bytes: { buffer, byteOffset }, rows, width }: StoredRows): Rows {
  const size = rows * width;
  const values =
    dtype === 'F32' ? new Uint32Array(buffer, byteOffset, size) : new Uint16Array(buffer, byteOffset, size);
  return { values, start: 0, stride: width };
}

function roundedHalves(stored: StoredRows, dtype: 'bfloat16' | 'float16'): Rows {
  const { packed } = packRows(widen(stored), [stored.rows, stored.width], dtype);
  return { values: new Uint16Array(packed.buffer), start: 0, stride: 2 * wordsPerRow(stored.width, dtype) };
}

function copyRows({ bytes, rows }: StoredRows, target: Int32Array, words: number): void {
  const to = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
  const length = bytes.length / rows;
  if (length === 4 * words) to.set(bytes);
  else for (let row = 0; row < rows; row++) to.set(bytes.subarray(row * length, (row + 1) * length), 4 * row * words);
}

function widen(stored: Pick<StoredRows, 'dtype' | 'bytes' | 'rows' | 'width' | 'scales'>): Float32Array {
  return decode(stored, new Float32Array(stored.rows * stored.width));
}
