import type { CheckpointReader, DecodableDtype } from '@therapeutic-moe/checkpoint';
import type { Int8Weights } from './hugging-face/quantization.js';
import type { TensorPiece } from './hugging-face/tensor-map.js';
import type { ParameterSink, StoredRows } from './parameter-sink.js';

/** Values of a part: few enough to stay in the processor's cache between reading, widening and placing. */
const PART_VALUES = 1 << 20;

const BYTES = { F32: 4, F16: 2, BF16: 2, I8: 1 } as const;

/** Rows of one tensor that are read together. */
interface Part extends Omit<StoredRows, 'bytes' | 'scales'> {
  readonly path: string;
  readonly piece: TensorPiece;
}

/** Host memory of a load: two parts as stored, one being read while the other is placed, and one part as float32. */
export interface LoadBuffers {
  readonly stored: readonly [Uint8Array, Uint8Array];
  readonly staging: Float32Array;
}

/**
 * What a load reads, cut so that its host memory stays below twice the largest tensor of the file, also where a sink keeps
 * that tensor once and a half.
 */
export class LoadPlan {
  private readonly parts: readonly Part[];

  /** @param map parameter paths, each with the pieces that make it up; their types are those of `decodeValues`. */
  constructor(
    private readonly reader: CheckpointReader,
    map: ReadonlyMap<string, readonly TensorPiece[]>,
  ) {
    const sizes = [...map.values()].flat().map(({ shape, within }) => sizeOf(within?.shape ?? shape));
    const values = Math.min(PART_VALUES, Math.ceil(largest(sizes) / 16));
    this.parts = [...map].flatMap(([path, pieces]) =>
      pieces.flatMap((piece) => cut(path, piece, reader.entry(piece.name).dtype as DecodableDtype, values)),
    );
  }

  /** The memory that `run` takes; nothing is allocated before. */
  buffers(): LoadBuffers {
    const bytes = 4 * Math.ceil(largest(this.parts.map(bytesOf)) / 4);
    const values = largest(this.parts.map(({ rows, width }) => rows * width));
    return { stored: [new Uint8Array(bytes), new Uint8Array(bytes)], staging: new Float32Array(values) };
  }

  /** Reads every part into the buffers and hands it to its parameter's sink; the next is read meanwhile. */
  async run({ stored }: LoadBuffers, sinkOf: (path: string) => ParameterSink, int8?: Int8Weights): Promise<void> {
    let scales: { readonly name: string; readonly values: Float32Array } | undefined;
    for await (const { part, bytes } of this.read(stored)) {
      const { path, piece, ...rows } = part;
      if (rows.dtype === 'I8' && scales?.name !== piece.name)
        scales = { name: piece.name, values: await int8!.readScales(this.reader, piece.name) };
      const ofRows = rows.dtype === 'I8' && { scales: scales!.values.subarray(rows.row, rows.row + rows.rows) };
      sinkOf(path).write(piece, { ...rows, bytes, ...ofRows });
    }
  }

  private async *read(buffers: readonly Uint8Array[]): AsyncGenerator<{ part: Part; bytes: Uint8Array }> {
    const readAt = async (i: number): Promise<Uint8Array | undefined> => {
      const part = this.parts[i];
      if (!part) return undefined;
      const bytes = buffers[i % 2]!.subarray(0, bytesOf(part));
      await this.reader.readPart(part.piece.name, offsetOf(part), bytes);
      return bytes;
    };
    const start = (i: number) => {
      const reading = readAt(i);
      reading.catch(() => undefined); // it may fail while the part before is placed; whoever awaits it is told
      return reading;
    };
    let next = start(0);
    try {
      for (const [i, part] of this.parts.entries()) {
        const bytes = (await next)!;
        next = start(i + 1);
        yield { part, bytes };
      }
    } finally {
      await next.catch(() => undefined); // a failed sink ends the load while a read is under way
    }
  }
}

/** Cuts a piece into runs of whole rows, of at most `values` values where a row is not longer. */
function cut(path: string, piece: TensorPiece, dtype: DecodableDtype, values: number): Part[] {
  const [height, width] = [piece.shape.at(-2) ?? 1, piece.shape.at(-1) ?? 1];
  if (sizeOf(piece.shape) === 0) return [];
  const matrices = sizeOf(piece.shape) / (height * width);
  const most = 2 ** Math.floor(Math.log2(Math.max(1, values / width))); // a power of two, which most sizes divide by
  const parts: Part[] = [];
  for (let matrix = 0; matrix < matrices; matrix++) {
    for (let row = 0; row < height; row += most)
      parts.push({ path, piece, dtype, matrix, row, rows: Math.min(most, height - row), width });
  }
  return parts;
}

/** There may be more than a call takes arguments. */
function largest(sizes: readonly number[]): number {
  return sizes.reduce((most, size) => Math.max(most, size), 0);
}

function bytesOf({ rows, width, dtype }: Part): number {
  return rows * width * BYTES[dtype];
}

function offsetOf({ piece, matrix, row, width, dtype }: Part): number {
  const start = piece.within?.start ?? 0;
  return (start + (matrix * (piece.shape.at(-2) ?? 1) + row) * width) * BYTES[dtype];
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
