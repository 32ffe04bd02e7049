import * as tf from '@tensorflow/tfjs-core';
import { gather } from '@therapeutic-moe/kernels';
import { filledVariable } from '@therapeutic-moe/nn';

/** One vector per expert, stored together as `[experts, size]`: a bias, or the scale of a norm. */
export class StackedVector {
  /** @param weight `[experts, size]`, owned by this from now on. */
  constructor(readonly weight: tf.Variable) {
    if (weight.rank !== 2) throw new Error(`StackedVector: weight must be [experts, size], got [${weight.shape}].`);
  }

  /** Every element the same. */
  static filled(experts: number, size: number, value: number): StackedVector {
    return new StackedVector(filledVariable([experts, size], value));
  }

  get experts(): number {
    return this.weight.shape[0]!;
  }

  get size(): number {
    return this.weight.shape[1]!;
  }

  /** @param groupOfRow int32 `[rows]` @returns the vector of each row's expert, `[rows, size]`. Caller disposes. */
  ofRows(groupOfRow: tf.Tensor1D): tf.Tensor2D {
    return gather(this.weight, groupOfRow) as tf.Tensor2D;
  }

  /** @returns `[1, size]`. Caller disposes. */
  ofExpert(expert: number): tf.Tensor2D {
    return tf.slice(this.weight as unknown as tf.Tensor2D, [expert, 0], [1, -1]);
  }

  /** New vectors that are what `change` makes of these; the caller owns them. */
  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): StackedVector {
    return new StackedVector(tf.tidy(() => tf.variable(change(this.weight))));
  }

  dispose(): void {
    this.weight.dispose();
  }
}
