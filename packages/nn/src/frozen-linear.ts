import * as tf from '@tensorflow/tfjs-core';
import { type FrozenMatrix, frozenMatMul, thaw } from '@therapeutic-moe/kernels';
import type { BaseLinear } from './linear.js';
import type { Parameters } from './parameters.js';

/**
 * `x W + b` whose W is never trained and takes half the bytes of float32 or a quarter: what an adapter is put around
 * (QLoRA, arXiv:2305.14314). Gradients reach `x` and the bias.
 */
export class FrozenLinear implements BaseLinear {
  /** @param weight `[outputSize, words]`, owned by this layer from now on. @param bias `[outputSize]`, likewise. */
  constructor(
    readonly weight: FrozenMatrix,
    readonly bias?: tf.Variable,
  ) {
    const { packed } = weight;
    if (packed.rank !== 2) throw new Error(`FrozenLinear: weight must be [output, words], got [${packed.shape}].`);
    if (bias && (bias.rank !== 1 || bias.shape[0] !== packed.shape[0])) {
      throw new Error(`FrozenLinear: bias must be [${packed.shape[0]}] as the weight has rows, got [${bias.shape}].`);
    }
  }

  get inputSize(): number {
    return this.weight.inputSize;
  }

  get outputSize(): number {
    return this.weight.packed.shape[0]!;
  }

  apply(x: tf.Tensor): tf.Tensor {
    if (!this.bias) return frozenMatMul(x, this.weight);
    const bias = this.bias;
    return tf.tidy(() => tf.add(frozenMatMul(x, this.weight), bias));
  }

  dense(): tf.Tensor2D {
    return thaw(this.weight) as tf.Tensor2D;
  }

  parameters(): Parameters {
    return new Map(this.bias ? [['bias', this.bias]] : []);
  }

  dispose(): void {
    tf.dispose([this.weight, ...(this.bias ? [this.bias] : [])]);
  }
}
