import * as tf from '@tensorflow/tfjs-core';
import { packInt8, unpackInt8 } from '@therapeutic-moe/kernels';
import type { CacheRows } from './cache-rows.js';
import { RoomTensor, rowsFrom } from './room-tensor.js';

/**
 * Rows in 8 bits, with a scale for each token and head (absmax, LLM.int8(), arXiv:2208.07339): `headDim + 4` bytes
 * instead of `4 headDim`. They are floats again only for the layer that attends.
 */
export class Int8Rows implements CacheRows {
  private constructor(
    private readonly packed: RoomTensor,
    private readonly scales: RoomTensor,
  ) {}

  /** @param shape `[batch, room, kvHeads, headDim]`. @throws when `headDim` is not a multiple of 4. */
  static empty(shape: readonly number[]): Int8Rows {
    const [outer, headDim] = [shape.slice(0, -1), shape.at(-1)!];
    if (headDim % 4 !== 0)
      throw new Error(
        `KvCache: int8 packs four numbers into one, so headDim must be a multiple of 4, got ${headDim}; use float32.`,
      );
    return new Int8Rows(RoomTensor.empty([...outer, headDim / 4], 'int32'), RoomTensor.empty([...outer, 1], 'float32'));
  }

  get bytes(): number {
    return this.packed.bytes + this.scales.bytes;
  }

  write(rows: tf.Tensor4D, starts: readonly number[]): void {
    tf.tidy(() => {
      const { packed, scales } = packInt8(rows);
      this.packed.write(packed, starts);
      this.scales.write(scales, starts);
    });
  }

  move(from: readonly number[], count: number, room: number): void {
    tf.tidy(() => {
      const kept = count > 0 ? rowsFrom(this.read(Math.max(...from) + count), from, count) : undefined;
      const again = kept && packInt8(kept); // gives the same integers; tfjs's slice on WebGPU takes int32 through float32
      this.packed.restart(again?.packed, room);
      this.scales.restart(again?.scales, room);
    });
  }

  read(count: number): tf.Tensor4D {
    return unpackInt8({ packed: this.packed.tensor, scales: this.scales.tensor }, count) as tf.Tensor4D;
  }

  fork(): Int8Rows {
    return new Int8Rows(this.packed.fork(), this.scales.fork());
  }

  dispose(): void {
    this.packed.dispose();
    this.scales.dispose();
  }
}
