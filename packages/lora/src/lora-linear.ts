import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  filledVariable,
  type Linear,
  type LinearLayer,
  type Parameters,
  seedFor,
} from '@therapeutic-moe/nn';
import type { LoraConfig } from './lora-config.js';

const KAIMING_GAIN = Math.sqrt(5);

/**
 * A linear with a low-rank update: `x W + b + (alpha / r) (x A) B` (LoRA, arXiv:2106.09685, eq. 3). The base stays as
 * it is; A starts random and B zero, so a fresh adapter changes nothing.
 */
export class LoraLinear implements LinearLayer {
  /** `[inputSize, r]` */
  readonly a: tf.Variable;
  /** `[r, outputSize]` */
  readonly b: tf.Variable;
  readonly scale: number;
  #baseBeforeMerge: tf.Tensor | undefined;

  constructor(
    readonly base: Linear,
    readonly config: LoraConfig,
    private readonly seed: number,
  ) {
    // Kaiming-uniform with a = sqrt(5), PEFT's default: bound = sqrt(6 / ((1 + 5) * inputSize)).
    const bound = Math.sqrt(6 / ((1 + KAIMING_GAIN ** 2) * base.inputSize));
    this.a = tf.tidy(() => tf.variable(tf.randomUniform([base.inputSize, config.r], -bound, bound, 'float32', seed)));
    this.b = filledVariable([config.r, base.outputSize], 0);
    this.scale = config.loraAlpha / config.r;
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
      const { loraDropout } = this.config;
      const seed = context?.dropoutSeed;
      const input =
        seed !== undefined && loraDropout > 0
          ? tf.dropout(x, loraDropout, undefined, seedFor(seed, `${this.seed}`))
          : x;
      const update = matMul(matMul(input, this.a), this.b);
      return tf.add(this.base.apply(x), tf.mul(update, this.scale));
    });
  }

  /** The update `(alpha / r) A B`, `[inputSize, outputSize]`. Caller disposes. */
  delta(): tf.Tensor2D {
    return tf.tidy(() => tf.mul(tf.matMul(this.a as tf.Tensor2D, this.b as tf.Tensor2D), this.scale));
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
    tf.dispose([this.a, this.b, ...(this.#baseBeforeMerge ? [this.#baseBeforeMerge] : [])]);
    this.#baseBeforeMerge = undefined;
    return this.base;
  }

  /** The base's parameters under their own names, then `lora_A` and `lora_B`. */
  parameters(): Parameters {
    return new Map([...this.base.parameters(), ['lora_A', this.a], ['lora_B', this.b]]);
  }

  dispose(): void {
    this.release().dispose();
  }
}
