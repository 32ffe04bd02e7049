import * as tf from '@tensorflow/tfjs-core';
import { groupedMatMul } from '@therapeutic-moe/kernels';
import { normalVariable } from './initialise.js';
import type { ApplyContext } from './linear.js';
import type { Parameters } from './parameters.js';

/** One matrix per expert: trained, or frozen in fewer bytes. */
export interface StackedLayer {
  readonly experts: number;
  readonly inputSize: number;
  readonly outputSize: number;
  /**
   * Rows sorted by expert, each through its own matrix.
   *
   * @param x `[rows, inputSize]`.
   * @param offsets `experts + 1` row numbers, or the same as int32 `[experts + 1]`.
   * @param context for a layer with adapters.
   * @returns `[rows, outputSize]`. Caller disposes.
   */
  applyGrouped(x: tf.Tensor2D, offsets: readonly number[] | tf.Tensor1D, context?: ApplyContext): tf.Tensor2D;
  /**
   * Rows through one expert's matrix: the plain way, one expert at a time.
   *
   * @param x `[rows, inputSize]`. @returns `[rows, outputSize]`. Caller disposes.
   */
  applyExpert(x: tf.Tensor2D, expert: number, context?: ApplyContext): tf.Tensor2D;
  /** A new layer whose weight is what `change` makes of this one's; the caller owns it. */
  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): StackedLayer;
  /** The weight as float32 `[experts, inputSize, outputSize]`, whatever it is stored as. Caller disposes. */
  dense(): tf.Tensor3D;
  /** `weight` `[experts, inputSize, outputSize]`; nothing where it is frozen. */
  parameters(): Parameters;
  dispose(): void;
}

/** One weight matrix per expert, stored together as `[experts, inputSize, outputSize]`. */
export class StackedLinear implements StackedLayer {
  /** @param weight `[experts, inputSize, outputSize]`, owned by this layer from now on. */
  constructor(readonly weight: tf.Variable) {
    if (weight.rank !== 3)
      throw new Error(`StackedLinear: weight must be [experts, input, output], got [${weight.shape}].`);
  }

  /** Normally distributed weights. */
  static create(
    experts: number,
    inputSize: number,
    outputSize: number,
    { deviation = inputSize ** -0.5, seed }: { deviation?: number; seed: number },
  ): StackedLinear {
    return new StackedLinear(normalVariable([experts, inputSize, outputSize], deviation, seed));
  }

  get experts(): number {
    return this.weight.shape[0]!;
  }

  get inputSize(): number {
    return this.weight.shape[1]!;
  }

  get outputSize(): number {
    return this.weight.shape[2]!;
  }

  applyGrouped(x: tf.Tensor2D, offsets: readonly number[] | tf.Tensor1D): tf.Tensor2D {
    return groupedMatMul(x, this.weight as unknown as tf.Tensor3D, offsets);
  }

  applyExpert(x: tf.Tensor2D, expert: number): tf.Tensor2D {
    return tf.tidy(() => {
      const one = tf.slice(this.weight as tf.Tensor, [expert, 0, 0], [1, -1, -1]);
      return tf.matMul(x, tf.reshape(one, [this.inputSize, this.outputSize]));
    });
  }

  dense(): tf.Tensor3D {
    return tf.clone(this.weight as unknown as tf.Tensor3D);
  }

  /** A new layer whose weight is what `change` makes of this one's; the caller owns it. */
  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): StackedLinear {
    return new StackedLinear(tf.tidy(() => tf.variable(change(this.weight))));
  }

  parameters(): Parameters {
    return new Map([['weight', this.weight]]);
  }

  dispose(): void {
    this.weight.dispose();
  }
}
