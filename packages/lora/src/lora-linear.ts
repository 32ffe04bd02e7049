import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  filledVariable,
  type Linear,
  type LinearLayer,
  normalVariable,
  type Parameters,
  seedFor,
} from '@therapeutic-moe/nn';
import type { LoraLayerConfig } from './lora-plan.js';

/**
 * A linear with a low-rank update: `x W + b + scale (x A) B` (LoRA, arXiv:2106.09685, eq. 3). The base stays as
 * it is; A starts random and B zero, so a fresh adapter changes nothing.
 */
export class LoraLinear implements LinearLayer {
  /** `[inputSize, r]` */
  readonly a: tf.Variable;
  /** `[r, outputSize]` */
  readonly b: tf.Variable;
  #baseBeforeMerge: tf.Tensor | undefined;

  constructor(
    readonly base: Linear,
    readonly config: LoraLayerConfig,
    private readonly seed: number,
  ) {
    this.a = initialFactor([base.inputSize, config.r], config.initLoraWeights, seed);
    this.b = filledVariable([config.r, base.outputSize], 0);
  }

  get inputSize(): number {
    return this.base.inputSize;
  }

  get outputSize(): number {
    return this.base.outputSize;
  }

  get merged(): boolean {
    return this.#baseBeforeMerge !== undefined;
  }

  apply(x: tf.Tensor, context?: ApplyContext): tf.Tensor {
    if (this.merged) return this.base.apply(x);
    return tf.tidy(() => {
      const { loraDropout, scale } = this.config;
      const seed = context?.dropoutSeed;
      const input =
        seed !== undefined && loraDropout > 0
          ? tf.dropout(x, loraDropout, undefined, seedFor(seed, `${this.seed}`))
          : x;
      const update = matMul(matMul(input, this.a), this.b);
      return tf.add(this.base.apply(x), tf.mul(update, scale));
    });
  }

  /** The update `scale A B`, `[inputSize, outputSize]`. Caller disposes. */
  delta(): tf.Tensor2D {
    return tf.tidy(() => tf.mul(tf.matMul(this.a as tf.Tensor2D, this.b as tf.Tensor2D), this.config.scale));
  }

  /**
   * Adds the update to the base weight, which makes serving as fast as without an adapter. The base is kept for
   * `unmerge`.
   */
  merge(): void {
    if (this.merged) throw new Error('LoraLinear.merge: the adapter is merged already; call unmerge first.');
    this.#baseBeforeMerge = tf.keep(tf.clone(this.base.weight));
    tf.tidy(() => this.base.weight.assign(tf.add(this.base.weight, this.delta())));
  }

  /** Puts the base weight back, bit for bit. */
  unmerge(): void {
    if (!this.#baseBeforeMerge) throw new Error('LoraLinear.unmerge: the adapter is not merged.');
    this.base.weight.assign(this.#baseBeforeMerge);
    this.#baseBeforeMerge.dispose();
    this.#baseBeforeMerge = undefined;
  }

  /** Gives up the adapter: its factors are freed and the base, as it stands, is the caller's. */
  release(): Linear {
    tf.dispose([...this.factors().values(), ...(this.#baseBeforeMerge ? [this.#baseBeforeMerge] : [])]);
    this.#baseBeforeMerge = undefined;
    return this.base;
  }

  /** What is trained: `lora_A` and `lora_B`. */
  factors(): Parameters {
    return new Map([
      ['lora_A', this.a],
      ['lora_B', this.b],
    ]);
  }

  /** The base's parameters under their own names, then the factors. */
  parameters(): Parameters {
    return new Map([...this.base.parameters(), ...this.factors()]);
  }

  dispose(): void {
    this.release().dispose();
  }
}

/** A's first values, drawn as PEFT does. */
function initialFactor(
  [inputSize, r]: [number, number],
  initialisation: LoraLayerConfig['initLoraWeights'],
  seed: number,
): tf.Variable {
  if (initialisation === 'gaussian') return normalVariable([inputSize, r], 1 / r, seed);
  // Kaiming-uniform with a = sqrt(5): bound = sqrt(6 / ((1 + 5) inputSize)).
  const bound = Math.sqrt(1 / inputSize);
  return tf.tidy(() => tf.variable(tf.randomUniform([inputSize, r], -bound, bound, 'float32', seed)));
}
