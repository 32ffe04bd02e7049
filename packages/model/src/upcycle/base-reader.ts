import * as tf from '@tensorflow/tfjs-core';
import { type CheckpointReader, type DecodableDtype, decodeValues } from '@therapeutic-moe/checkpoint';
import { freshLayers } from '@therapeutic-moe/nn';
import { DecoderLayer } from '../decoder-layer.js';
import { cutPiece } from '../hugging-face/piece-values.js';
import type { TensorPiece } from '../hugging-face/tensor-map.js';
import { LoadPlan } from '../load-parameters.js';
import type { ModelConfig } from '../model-config.js';
import { arraySink } from './array-sink.js';

/** A dense checkpoint, read one parameter at a time. */
export class BaseReader {
  /** @param map the checkpoint's pieces of each parameter. */
  constructor(
    readonly config: ModelConfig,
    readonly checkpoint: CheckpointReader,
    readonly map: ReadonlyMap<string, readonly TensorPiece[]>,
  ) {}

  /** A parameter in our arrangement. The array is the caller's. */
  read(path: string): Promise<Float32Array> {
    return this.#readPieces(this.map.get(path)!);
  }

  /**
   * Some rows of a matrix that the base stores as it stands, such as its embedding.
   *
   * @returns `[rows, width]`; the array is the caller's.
   */
  async readRows(path: string, rows: readonly number[]): Promise<Float32Array> {
    const [{ name, shape }] = this.map.get(path) as [TensorPiece];
    const width = shape[1]!;
    const dtype = this.checkpoint.entry(name).dtype as DecodableDtype;
    const values = new Float32Array(rows.length * width);
    const bytes = new Uint8Array(width * (dtype === 'F32' ? 4 : 2));
    for (const [i, row] of rows.entries()) {
      await this.checkpoint.readPart(name, row * bytes.length, bytes);
      decodeValues(dtype, bytes, values.subarray(i * width, (i + 1) * width));
    }
    return values;
  }

  /**
   * A piece of another checkpoint's parameter, which the base holds whole: copied where both store it alike.
   *
   * @returns an array that is only to be read.
   */
  async readPiece(path: string, piece: TensorPiece): Promise<Float32Array> {
    const alike = this.map.get(path)!.find((own) => isAlike(own, piece));
    if (!alike) return cutPiece(await this.read(path), piece);
    const { name, shape } = alike;
    return this.#readPieces([{ name, shape, start: 0 }]);
  }

  /** Part by part, so that beside the values memory holds little of what is stored. */
  async #readPieces(pieces: readonly TensorPiece[]): Promise<Float32Array> {
    const values = new Float32Array(pieces.reduce((sum, { shape }) => sum + sizeOf(shape), 0));
    const plan = new LoadPlan(this.checkpoint, new Map([['', pieces]]));
    const buffers = plan.buffers();
    await plan.run(buffers, () => arraySink(values, buffers.staging));
    return values;
  }

  /** A layer on the active backend; the caller disposes it. */
  async layer(index: number): Promise<DecoderLayer> {
    const layer = new DecoderLayer(this.config, index, { inner: 0, residual: 0 }, 0, freshLayers);
    try {
      for (const [path, variable] of layer.parameters()) {
        const values = await this.read(`model.layers.${index}.${path}`);
        tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
      }
      return layer;
    } catch (thrown) {
      layer.dispose();
      throw thrown;
    }
  }
}

function isAlike(a: TensorPiece, b: TensorPiece): boolean {
  return a.start === b.start && a.rowStride === b.rowStride && a.shape.join() === b.shape.join();
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1);
}
