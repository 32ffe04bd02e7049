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
import { DoraMagnitude } from './dora-magnitude.js';
import type { LoraLayerConfig } from './lora-plan.js';

/**
 * A linear with a low-rank update: `x W + b + scale (x A) B` (LoRA, arXiv:2106.09685, eq. 3), and with `useDora` a
 * length of its own for each column of the sum, `x (m (W + scale A B) / ||W + scale A B||) + b` (DoRA, arXiv:2402.09353,
 * eq. 5). The base stays as it is; A starts random, B zero and m as long as the base's columns, so a fresh adapter changes
 * nothing.
 */
export class LoraLinear implements LinearLayer {
  /** `[inputSize, r]` */
  readonly a: tf.Variable;
  /** `[r, outputSize]` */
  readonly b: tf.Variable;
  readonly magnitude: DoraMagnitude | undefined;
  #baseBeforeMerge: tf.Tensor | undefined;

  constructor(
    readonly base: Linear,
    readonly config: LoraLayerConfig,
    private readonly seed: number,
  ) {
    this.a = initialFactor([base.inputSize, config.r], config.initLoraWeights, seed);
    this.b = filledVariable([config.r, base.outputSize], 0);
    this.magnitude = config.useDora ? new DoraMagnitude(base.weight) : undefined;
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
      const input = this.#dropped(x, context);
      const [plain, update] = [this.base.apply(x), matMul(matMul(input, this.a), this.b)];
      const scaled = tf.mul(update, this.config.scale);
      if (!this.magnitude) return tf.add(plain, scaled);
      const gain = this.magnitude.gain(() => this.#adaptedWeight());
      // Dropout is on the input of all that the adapter adds, `(gain - 1) x W` too, as in PEFT.
      const stretched = tf.mul(
        input === x ? this.#withoutBias(plain) : matMul(input, this.base.weight),
        tf.sub(gain, 1),
      );
      return tf.add(tf.add(plain, stretched), tf.mul(scaled, gain));
    });
  }

  /** The update `scale A B`, `[inputSize, outputSize]`. Caller disposes. */
  delta(): tf.Tensor2D {
    return tf.tidy(() => tf.mul(tf.matMul(this.a as tf.Tensor2D, this.b as tf.Tensor2D), this.config.scale));
  }

  /**
   * Makes the base weight what the adapter makes of it, so that serving is as fast as without an adapter. The base is
   * kept for `unmerge`.
   */
  merge(): void {
    if (this.merged) throw new Error('LoraLinear.merge: the adapter is merged already; call unmerge first.');
    this.#baseBeforeMerge = tf.keep(tf.clone(this.base.weight));
    tf.tidy(() => {
      const adapted = this.#adaptedWeight();
      this.base.weight.assign(
        this.magnitude
          ? tf.mul(
              adapted,
              this.magnitude.gain(() => adapted),
            )
          : adapted,
      );
    });
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
    this.magnitude?.dispose();
    tf.dispose([this.a, this.b, ...(this.#baseBeforeMerge ? [this.#baseBeforeMerge] : [])]);
    this.#baseBeforeMerge = undefined;
    return this.base;
  }

  /** What is trained: `lora_A`, `lora_B`, and with DoRA `lora_magnitude_vector`. */
  factors(): Parameters {
    return new Map([
      ['lora_A', this.a],
      ['lora_B', this.b],
      ...(this.magnitude ? ([['lora_magnitude_vector', this.magnitude.vector]] as const) : []),
    ]);
  }

  /** The base's parameters under their own names, then the factors. */
  parameters(): Parameters {
    return new Map([...this.base.parameters(), ...this.factors()]);
  }

  dispose(): void {
    this.release().dispose();
  }

  #dropped(x: tf.Tensor, context?: ApplyContext): tf.Tensor {
    const [rate, seed] = [this.config.loraDropout, context?.dropoutSeed];
    return seed !== undefined && rate > 0 ? tf.dropout(x, rate, undefined, seedFor(seed, `${this.seed}`)) : x;
  }

  #withoutBias(product: tf.Tensor): tf.Tensor {
    return this.base.bias ? tf.sub(product, this.base.bias) : product;
  }

  /** `W + scale A B` */
  #adaptedWeight(): tf.Tensor {
    return tf.tidy(() => tf.add(this.base.weight, this.delta()));
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
