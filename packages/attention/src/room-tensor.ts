import * as tf from '@tensorflow/tfjs-core';
import { writeRows } from '@therapeutic-moe/kernels';

/** A tensor `[batch, room, ...]` whose rows are written in place. It owns its memory. */
export class RoomTensor {
  #held: tf.Tensor;

  private constructor(held: tf.Tensor) {
    this.#held = tf.keep(held);
  }

  /** @param shape `[batch, room, ...]`. */
  static empty(shape: readonly number[], dtype: 'float32' | 'int32'): RoomTensor {
    return new RoomTensor(tf.zeros([...shape], dtype));
  }

  /** The whole of it; stays this object's. */
  get tensor(): tf.Tensor {
    return this.#held;
  }

  get bytes(): number {
    return this.#held.size * tf.util.bytesPerElement(this.#held.dtype);
  }

  /** @param rows `[batch, seq, ...]`. @param starts `[batch]`: where the rows of each item go. */
  write(rows: tf.Tensor, starts: readonly number[]): void {
    this.#replace(writeRows(this.#held, rows, starts));
  }

  /** Starts again with `rows` `[batch, count, ...]`, if any, as its first, in room for `room`. */
  restart(rows: tf.Tensor | undefined, room: number): void {
    const [batch, before, ...rest] = this.#held.shape as [number, number, ...number[]];
    if (room !== before) this.#replace(tf.zeros([batch, room, ...rest], this.#held.dtype));
    if (rows) this.write(rows, new Array<number>(batch).fill(0));
  }

  /** `[batch, count, ...]`, the first rows: a tensor of the caller's, on TensorFlow without a copy where there is one item. */
  first(count: number): tf.Tensor {
    const [batch, room, ...rest] = this.#held.shape as [number, number, ...number[]];
    if (batch !== 1) return tf.slice(this.#held, [0, 0], [-1, count]);
    return tf.tidy(() => tf.reshape(tf.slice(tf.reshape(this.#held, [room, ...rest]), 0, count), [1, count, ...rest]));
  }

  /** The same rows in memory of their own. */
  fork(): RoomTensor {
    const copy = RoomTensor.empty(this.#held.shape, this.#held.dtype as 'float32' | 'int32');
    copy.write(this.#held, new Array(this.#held.shape[0]).fill(0));
    return copy;
  }

  dispose(): void {
    this.#held.dispose();
  }

  #replace(next: tf.Tensor): void {
    if (next === this.#held) return;
    this.#held.dispose();
    this.#held = tf.keep(next);
  }
}

/** `[batch, count, ...]`: rows of each item from row `from[item]` on. Caller disposes. */
export function rowsFrom(x: tf.Tensor, from: readonly number[], count: number): tf.Tensor {
  return tf.tidy(() => tf.concat(from.map((start, item) => tf.slice(x, [item, start], [1, count]))));
}
