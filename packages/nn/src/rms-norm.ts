import type * as tf from '@tensorflow/tfjs-core';
import { rmsNorm } from '@therapeutic-moe/kernels';
import { filledVariable } from './initialise.js';
import type { Parameters } from './parameters.js';

/** Root-mean-square normalisation with a learned scale (arXiv:1910.07467). */
export class RmsNorm {
  readonly weight: tf.Variable;

  constructor(
    size: number,
    readonly epsilon: number,
  ) {
    this.weight = filledVariable([size], 1);
  }

  /** @param x `[..., size]` @returns the same shape. Caller disposes. */
  apply(x: tf.Tensor): tf.Tensor {
    return rmsNorm(x, this.weight as unknown as tf.Tensor1D, this.epsilon);
  }

  parameters(): Parameters {
    return new Map([['weight', this.weight]]);
  }

  dispose(): void {
    this.weight.dispose();
  }
}
