import * as tf from '@tensorflow/tfjs-core';
import type { CheckpointReader } from '@therapeutic-moe/checkpoint';
import { freshLayers } from '@therapeutic-moe/nn';
import { DecoderLayer } from '../decoder-layer.js';
import { cutPiece, fitPiece } from '../hugging-face/piece-values.js';
import type { TensorPiece } from '../hugging-face/tensor-map.js';
import type { ModelConfig } from '../model-config.js';

/** A dense checkpoint, read one parameter at a time. */
export class BaseReader {
  /** @param map the checkpoint's pieces of each parameter. */
  constructor(
    readonly config: ModelConfig,
    readonly checkpoint: CheckpointReader,
    readonly map: ReadonlyMap<string, readonly TensorPiece[]>,
  ) {}

  /** A parameter in our arrangement. The array is the caller's. */
  async read(path: string): Promise<Float32Array> {
    const pieces = this.map.get(path)!;
    if (isWhole(pieces)) return this.checkpoint.read(pieces[0]!.name);
    const values = new Float32Array(pieces.reduce((sum, { shape }) => sum + sizeOf(shape), 0));
    for (const piece of pieces) fitPiece(piece, await this.checkpoint.read(piece.name), values);
    return values;
  }

  /**
   * A piece of another checkpoint's parameter, which the base holds whole: copied where both store it alike.
   *
   * @returns an array that is only to be read.
   */
  async readPiece(path: string, piece: TensorPiece): Promise<Float32Array> {
    const alike = this.map.get(path)!.find((own) => isAlike(own, piece));
    return alike ? this.checkpoint.read(alike.name) : cutPiece(await this.read(path), piece);
  }

  /** A layer on the active backend; the caller disposes it. */
  async layer(index: number): Promise<DecoderLayer> {
    const layer = new DecoderLayer(this.config, index, { inner: 0, residual: 0 }, 0, freshLayers);
    for (const [path, variable] of layer.parameters()) {
      const values = await this.read(`model.layers.${index}.${path}`);
      tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
    }
    return layer;
  }
}

/** Whether a parameter stands in the checkpoint as it is. */
function isWhole(pieces: readonly TensorPiece[]): boolean {
  return pieces.length === 1 && pieces[0]!.rowStride === undefined;
}

function isAlike(a: TensorPiece, b: TensorPiece): boolean {
  return a.start === b.start && a.rowStride === b.rowStride && a.shape.join() === b.shape.join();
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1);
}
