import type * as tf from '@tensorflow/tfjs-core';
import { tidy } from '@tensorflow/tfjs-core';
import { readsKeysInPlace } from '@therapeutic-moe/kernels';
import { RoomTensor, rowsFrom } from './room-tensor.js';

/** The keys or the values of one layer, `[batch, room, kvHeads, headDim]` in some number format. It owns its memory. */
export interface CacheRows {
  readonly bytes: number;
  /** The whole room where a kernel may write floats into it in place. */
  readonly floats?: tf.Tensor4D;
  /** @param rows `[batch, seq, kvHeads, headDim]`. @param starts `[batch]`: where the rows of each item go. */
  write(rows: tf.Tensor4D, starts: readonly number[]): void;
  /** Keeps `count` rows of each item from row `from[item]` on, which become its first, and has room for `room`. */
  move(from: readonly number[], count: number, room: number): void;
  /** At least the first `count` rows, as floats: this object's, or made in the tidy around. */
  read(count: number): tf.Tensor4D;
  /** The same rows in memory of their own. */
  fork(): CacheRows;
  dispose(): void;
}

/** Rows as they come. */
export class Float32Rows implements CacheRows {
  private constructor(private readonly held: RoomTensor) {}

  /** @param shape `[batch, room, kvHeads, headDim]`. */
  static empty(shape: readonly number[]): Float32Rows {
    return new Float32Rows(RoomTensor.empty(shape, 'float32'));
  }

  get bytes(): number {
    return this.held.bytes;
  }

  get floats(): tf.Tensor4D {
    return this.held.tensor as tf.Tensor4D;
  }

  write(rows: tf.Tensor4D, starts: readonly number[]): void {
    this.held.write(rows, starts);
  }

  move(from: readonly number[], count: number, room: number): void {
    tidy(() => this.held.restart(count > 0 ? rowsFrom(this.floats, from, count) : undefined, room));
  }

  /** The whole room where attention passes over the empty rows. */
  read(count: number): tf.Tensor4D {
    if (count === this.floats.shape[1] || readsKeysInPlace()) return this.floats;
    return this.held.first(count) as tf.Tensor4D;
  }

  fork(): Float32Rows {
    return new Float32Rows(this.held.fork());
  }

  dispose(): void {
    this.held.dispose();
  }
}
