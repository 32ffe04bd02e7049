import * as tf from '@tensorflow/tfjs-core';
import { type FrozenDtype, type FrozenMatrix, frozenMatrix } from '@therapeutic-moe/kernels';
import type { TensorPiece } from './hugging-face/tensor-map.js';
import type { FrozenShape } from './parameter-shapes.js';
import type { ParameterSink, StoredRows } from './parameter-sink.js';
import { inputRows, outputRows, type RowCollector } from './row-collector.js';

/** Rows of outputs on the device, and the number of the first of them, counted over all experts. */
interface Segment {
  readonly first: number;
  /** `[rows, words]` */
  readonly rows: FrozenMatrix;
}

/**
 * Collects one parameter in fewer bytes: rows that the file holds in the wanted type go to the device as they are, others
 * are packed as they come. The host holds one matrix at a time; where int8 is made of rows of inputs, as stored and packed.
 */
export class FrozenSink implements ParameterSink {
  readonly #collecting = new Map<number, RowCollector>();
  #segments: Segment[] = [];

  constructor(
    private readonly parameter: FrozenShape,
    private readonly dtype: FrozenDtype,
  ) {}

  write(piece: TensorPiece, stored: StoredRows): void {
    const turned = piece.rowStride === undefined && this.parameter.frozenAs === 'linear';
    const [height, width] = piece.shape.slice(-2) as [number, number];
    const first = firstOutput(piece, turned ? width : height, stored.matrix, this.parameter);
    const collector =
      this.#collecting.get(first) ?? (turned ? inputRows : outputRows)(height, width, this.dtype, stored.dtype);
    this.#collecting.set(first, collector);
    collector.put(stored);
    if (!collector.isWhole) return;
    this.#collecting.delete(first);
    const shape = turned ? [width, height] : [height, width];
    this.#segments.push({ first, rows: frozenMatrix(collector.packed(), shape, this.dtype) });
    if (this.#hasAll) this.#segments = [{ first: 0, rows: join(this.#segments) }];
  }

  /** The whole parameter; the caller's from now on. @throws when rows have not come. */
  take(): FrozenMatrix {
    const [all] = this.#segments;
    if (!all || !this.#hasAll) throw new Error(`FrozenSink.take: rows of [${this.parameter.shape}] have not come.`);
    this.#segments = [];
    const { shape } = this.parameter;
    return shape.length === 2 ? all.rows : stack(all.rows, shape[0]!);
  }

  /** Frees what has come and was not taken. */
  dispose(): void {
    tf.dispose(this.#segments.map(({ rows }) => rows));
    this.#segments = [];
  }

  get #hasAll(): boolean {
    const { shape, frozenAs } = this.parameter;
    const outputs = frozenAs === 'rows' ? shape[0]! : (shape.at(-3) ?? 1) * shape.at(-1)!;
    return this.#segments.reduce((sum, { rows }) => sum + rows.packed.shape[0]!, 0) === outputs;
  }
}

/** Which output, counted over all experts, the first row of a piece's matrix is. */
function firstOutput(
  { start, rowStride }: TensorPiece,
  outputs: number,
  matrix: number,
  { shape }: FrozenShape,
): number {
  if (rowStride === undefined) return matrix * outputs;
  const expert = Math.floor(start / (shape.at(-2)! * rowStride)) + matrix;
  return expert * rowStride + (start % rowStride);
}

/** Puts rows one behind the other in the order of their numbers, and frees the parts. */
function join(segments: readonly Segment[]): FrozenMatrix {
  const parts = [...segments].sort((a, b) => a.first - b.first).map(({ rows }) => rows);
  if (parts.length === 1) return parts[0]!;
  const { dtype, inputSize } = parts[0]!;
  const packed = tf.concat(parts.map((part) => part.packed));
  const scales = parts.flatMap((part) => part.scales ?? []);
  const joined = { dtype, inputSize, packed, ...(scales.length > 0 && { scales: tf.concat(scales) }) };
  tf.dispose(parts);
  return joined;
}

/** `[experts * outputs, words]` as `[experts, outputs, words]`; takes the rows over. */
function stack({ dtype, inputSize, packed, scales }: FrozenMatrix, experts: number): FrozenMatrix {
  const split = (t: tf.Tensor) => tf.reshape(t, [experts, -1, ...t.shape.slice(1)]);
  const stacked = { dtype, inputSize, packed: split(packed), ...(scales && { scales: split(scales) }) };
  tf.dispose([packed, ...(scales ? [scales] : [])]);
  return stacked;
}
