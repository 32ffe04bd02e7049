import * as tf from '@tensorflow/tfjs-core';
import { type FrozenMatrix, groupedFrozenMatMul, thaw } from '@therapeutic-moe/kernels';
import type { Parameters } from './parameters.js';
import type { StackedLayer } from './stacked-linear.js';

/** One weight matrix per expert, never trained, in half the bytes of float32 or a quarter. */
export class FrozenStackedLinear implements StackedLayer {
  /** @param weight `[experts, outputSize, words]`, owned by this layer from now on. */
  constructor(readonly weight: FrozenMatrix) {
    const { packed } = weight;
    if (packed.rank !== 3) {
      throw new Error(`FrozenStackedLinear: weight must be [experts, output, words], got [${packed.shape}].`);
    }
  }

  get experts(): number {
    return this.weight.packed.shape[0]!;
  }

  get inputSize(): number {
    return this.weight.inputSize;
  }

  get outputSize(): number {
    return this.weight.packed.shape[1]!;
  }

  /**
   * Rows sorted by expert, each through its own matrix.
   *
   * @param x `[rows, inputSize]`.
   * @param offsets `experts + 1` row numbers, or the same as int32 `[experts + 1]`.
   * @returns `[rows, outputSize]`. Caller disposes.
   */
  applyGrouped(x: tf.Tensor2D, offsets: readonly number[] | tf.Tensor1D): tf.Tensor2D {
    return groupedFrozenMatMul(x, this.weight, offsets);
  }

  /**
   * Rows through one expert's matrix: the plain way, one expert at a time.
   *
   * @param x `[rows, inputSize]`. @returns `[rows, outputSize]`. Caller disposes.
   */
  applyExpert(x: tf.Tensor2D, expert: number): tf.Tensor2D {
    const offsets = Array.from({ length: this.experts + 1 }, (_, e) => (e > expert ? x.shape[0] : 0));
    return groupedFrozenMatMul(x, this.weight, offsets);
  }

  dense(): tf.Tensor3D {
    return thaw(this.weight) as tf.Tensor3D;
  }

  /** @throws always: what changes expert by expert has to be float32. */
  rebuild(): never {
    throw new Error(
      `FrozenStackedLinear.rebuild: the experts are frozen in ${this.weight.dtype} and cannot be changed; load the model in float32.`,
    );
  }

  /** None: nothing is trained. */
  parameters(): Parameters {
    return new Map();
  }

  dispose(): void {
    tf.dispose(this.weight);
  }
}
