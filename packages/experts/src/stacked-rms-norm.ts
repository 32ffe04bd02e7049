import * as tf from '@tensorflow/tfjs-core';
import { rmsNorm } from '@therapeutic-moe/kernels';
import { StackedVector } from './stacked-vector.js';

/** Root-mean-square normalisation (arXiv:1910.07467) with a scale of its own for each expert. */
export class StackedRmsNorm {
  /** @param scale `[experts, size]`; owned from now on. */
  constructor(
    readonly scale: StackedVector,
    readonly epsilon: number,
  ) {}

  /** Scales of 1. */
  static create(experts: number, size: number, epsilon: number): StackedRmsNorm {
    return new StackedRmsNorm(StackedVector.filled(experts, size, 1), epsilon);
  }

  /** @param rows `[rows, size]` @returns the same shape. Caller disposes. */
  applyGrouped(rows: tf.Tensor2D, groupOfRow: tf.Tensor1D): tf.Tensor2D {
    return tf.tidy(() => tf.mul(this.#normalise(rows), this.scale.ofRows(groupOfRow)));
  }

  /** @param x `[tokens, size]` @returns the same shape. Caller disposes. */
  applyExpert(x: tf.Tensor2D, expert: number): tf.Tensor2D {
    return tf.tidy(() => tf.mul(this.#normalise(x), this.scale.ofExpert(expert)));
  }

  #normalise(x: tf.Tensor2D): tf.Tensor {
    return rmsNorm(x, tf.ones([this.scale.size]), this.epsilon);
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): StackedRmsNorm {
    return new StackedRmsNorm(this.scale.rebuild(change), this.epsilon);
  }

  dispose(): void {
    this.scale.dispose();
  }
}
