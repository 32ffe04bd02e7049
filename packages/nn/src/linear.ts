import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import { filledVariable, normalVariable } from './initialise.js';
import type { Parameters } from './parameters.js';

/** What a pass tells its layers besides the hidden states. */
export interface ApplyContext {
  /** Present while training: seeds the dropout of this pass. Absent: no dropout. */
  readonly dropoutSeed?: number;
  /**
   * Which adapter each sequence of the batch goes through, by name; null: none. The rows of a layer's input are those of
   * the sequences, one after the other, equally many each. Absent: the adapters that are switched on.
   */
  readonly adapters?: readonly (string | null)[];
}

/** Anything that maps `[..., inputSize]` to `[..., outputSize]`: a Linear, or one with an adapter around it. */
export interface LinearLayer {
  readonly inputSize: number;
  readonly outputSize: number;
  /** @param x `[..., inputSize]` @returns `[..., outputSize]`. Caller disposes. */
  apply(x: tf.Tensor, context?: ApplyContext): tf.Tensor;
  parameters(): Parameters;
  dispose(): void;
}

/** A linear that stands for itself, no adapter around it: trained, or frozen in fewer bytes. */
export interface BaseLinear extends LinearLayer {
  /** `[outputSize]`, added to every output. */
  readonly bias?: tf.Tensor;
  /** The weight as float32 `[inputSize, outputSize]`, whatever it is stored as. Caller disposes. */
  dense(): tf.Tensor2D;
}

/** `x W + b` with W stored `[inputSize, outputSize]`. */
export class Linear implements BaseLinear {
  /** @param weight `[inputSize, outputSize]`, owned by this layer from now on. @param bias `[outputSize]`, likewise. */
  constructor(
    readonly weight: tf.Variable,
    readonly bias?: tf.Variable,
  ) {
    if (weight.rank !== 2) throw new Error(`Linear: weight must be [input, output], got [${weight.shape}].`);
    if (bias && (bias.rank !== 1 || bias.shape[0] !== weight.shape[1])) {
      throw new Error(`Linear: bias must be [${weight.shape[1]}] for weight [${weight.shape}], got [${bias.shape}].`);
    }
  }

  /** Normally distributed weights, zero bias. */
  static create(
    inputSize: number,
    outputSize: number,
    { deviation = inputSize ** -0.5, bias = false, seed }: { deviation?: number; bias?: boolean; seed: number },
  ): Linear {
    return new Linear(
      normalVariable([inputSize, outputSize], deviation, seed),
      bias ? filledVariable([outputSize], 0) : undefined,
    );
  }

  get inputSize(): number {
    return this.weight.shape[0]!;
  }

  get outputSize(): number {
    return this.weight.shape[1]!;
  }

  apply(x: tf.Tensor): tf.Tensor {
    if (x.shape.at(-1) !== this.inputSize) {
      throw new Error(`Linear.apply: x must be [..., ${this.inputSize}], got [${x.shape.join(', ')}].`);
    }
    if (!this.bias) return matMul(x, this.weight);
    const bias = this.bias;
    return tf.tidy(() => tf.add(matMul(x, this.weight), bias));
  }

  dense(): tf.Tensor2D {
    return tf.clone(this.weight as tf.Tensor2D);
  }

  parameters(): Parameters {
    return new Map([['weight', this.weight], ...(this.bias ? ([['bias', this.bias]] as const) : [])]);
  }

  dispose(): void {
    tf.dispose([this.weight, ...(this.bias ? [this.bias] : [])]);
  }
}
