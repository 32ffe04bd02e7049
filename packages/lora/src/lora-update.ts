import * as tf from '@tensorflow/tfjs-core';
import { float32Products } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  type BaseLinear,
  filledVariable,
  normalVariable,
  type Parameters,
  seedFor,
} from '@therapeutic-moe/nn';
import { baseRounding } from './base-rounding.js';
import { type StartFactors, startsFromBase } from './base-start.js';
import { DoraMagnitude } from './dora-magnitude.js';
import type { LoraLayerConfig } from './lora-plan.js';

/** `size` columns from `start` on. */
export interface ColumnRange {
  readonly start: number;
  readonly size: number;
}

/**
 * What one adapter does to one linear, or to a range of its columns: `W + scale A B` (LoRA, arXiv:2106.09685, eq. 3), and
 * with `useDora` a length of its own for each column of the sum, `m (W + scale A B) / ||W + scale A B||` (DoRA,
 * arXiv:2402.09353, eq. 5). A starts random, B zero and m as long as the base's columns, so a fresh update changes nothing.
 *
 * An update that takes over a part of the base, `A0 B0` (PiSSA, OLoRA), starts with it and is `W + scale (A B - A0 B0)`:
 * the residual `W - scale A0 B0` that those papers keep is never written, so the base has all of its bits at any time.
 * It owns its factors and not the base.
 */
export class LoraUpdate {
  /** `[inputSize, r]` */
  readonly a: tf.Variable;
  /** `[r, columns]` */
  readonly b: tf.Variable;
  readonly magnitude: DoraMagnitude | undefined;
  readonly #columns: ColumnRange;

  /**
   * @param name of the adapter.
   * @param columns of the base's output that are changed. Absent: all.
   * @param start the part of the base that it takes over; owned from now on. Absent: none.
   */
  constructor(
    readonly name: string,
    private readonly base: BaseLinear,
    readonly config: LoraLayerConfig,
    private readonly seed: number,
    columns: ColumnRange = { start: 0, size: base.outputSize },
    readonly start?: StartFactors,
  ) {
    if (startsFromBase(config) !== (start !== undefined)) {
      throw new Error(
        `LoraUpdate: initLoraWeights '${config.initLoraWeights}' starts from the base; attach the adapter with await attachLoraFromBase.`,
      );
    }
    this.#columns = columns;
    this.a = start ? copyOf(start.a) : initialFactor([base.inputSize, config.r], config.initLoraWeights, seed);
    this.b = start ? copyOf(start.b) : filledVariable([config.r, columns.size], 0);
    this.magnitude = config.useDora ? new DoraMagnitude(() => this.#weight()) : undefined;
  }

  /** Whether it drops inputs in such a pass. */
  drops(context?: ApplyContext): boolean {
    return context?.dropoutSeed !== undefined && this.config.loraDropout > 0;
  }

  /** @returns `x` with the inputs dropped that this update drops in training. */
  dropped(x: tf.Tensor, { dropoutSeed }: ApplyContext): tf.Tensor {
    return tf.dropout(x, this.config.loraDropout, undefined, seedFor(dropoutSeed!, `${this.seed}`));
  }

  /** Columns of `down()`: r, or twice that beside a part of the base. */
  get rank(): number {
    return this.start ? 2 * this.config.r : this.config.r;
  }

  /** The first factor of what is added to the base, `[inputSize, rank]`: A, or `[A, A0]`. Ask within a tidy. */
  down(): tf.Tensor {
    return this.start ? tf.concat([this.a, this.start.a], 1) : this.a;
  }

  /** The second, `[rank, columns]`: B, or `[B, -B0]`. Ask within a tidy. */
  up(): tf.Tensor {
    return this.start ? tf.concat([this.b, tf.neg(this.start.b)], 0) : this.b;
  }

  /** The update `scale A B`, less `scale A0 B0`, `[inputSize, columns]`. Caller disposes. */
  delta(): tf.Tensor2D {
    return tf.tidy(() => tf.mul(tf.matMul(this.down() as tf.Tensor2D, this.up() as tf.Tensor2D), this.config.scale));
  }

  /** What each column is multiplied by, `[columns]`, where columns have lengths of their own. Caller disposes. */
  gain(): tf.Tensor | undefined {
    return this.magnitude?.gain(() => tf.add(this.#weight(), this.delta()));
  }

  /** What the whole weight of the base is changed by, in float32, `[inputSize, outputSize]`. Caller disposes. */
  change(): tf.Tensor {
    const change = () => {
      const gain = this.gain();
      const delta = this.delta();
      return this.widened(gain ? tf.add(tf.mul(this.#weight(), tf.sub(gain, 1)), tf.mul(delta, gain)) : delta);
    };
    return float32Products(() => tf.tidy(change));
  }

  /** Puts values of its columns between zeros for the others. @param values `[..., columns]` @returns `[..., outputSize]` */
  widened(values: tf.Tensor): tf.Tensor {
    const { start, size } = this.#columns;
    const behind = this.base.outputSize - start - size;
    if (size === this.base.outputSize) return values;
    return tf.pad(values, [
      ...Array.from({ length: values.rank - 1 }, (): [number, number] => [0, 0]),
      [start, behind],
    ]);
  }

  /**
   * @param weight `[columns, inputSize]`, as Hugging Face has it.
   * @returns whether the base has these values, rounded where it is frozen in a smaller form.
   */
  async isOn(weight: Float32Array): Promise<boolean> {
    const own = tf.tidy(() => tf.transpose(this.#weight()));
    const [values, rounding] = await Promise.all([own.data(), baseRounding(this.base)]).finally(() => own.dispose());
    const output = (i: number) => this.#columns.start + Math.floor(i / this.base.inputSize);
    return (
      values.length === weight.length &&
      values.every((value, i) => Math.abs(value - weight[i]!) <= rounding(value, output(i)))
    );
  }

  /** Its columns of a matrix of the base's size, which is freed. @returns `[inputSize, columns]`. Caller disposes. */
  columnsOf(matrix: tf.Tensor): tf.Tensor {
    const { start, size } = this.#columns;
    if (size === this.base.outputSize) return matrix;
    const columns = tf.slice(matrix, [0, start], [-1, size]);
    matrix.dispose();
    return columns;
  }

  /** What is trained: `lora_A`, `lora_B`, and with DoRA `lora_magnitude_vector`. */
  factors(): Parameters {
    return new Map([
      ['lora_A', this.a],
      ['lora_B', this.b],
      ...(this.magnitude ? ([['lora_magnitude_vector', this.magnitude.vector]] as const) : []),
    ]);
  }

  dispose(): void {
    tf.dispose([this.a, this.b, ...(this.start ? [this.start.a, this.start.b] : [])]);
    this.magnitude?.dispose();
  }

  /** The base's weight in its columns, `[inputSize, columns]`. */
  #weight(): tf.Tensor {
    return this.columnsOf(this.base.dense());
  }
}

function copyOf(factor: tf.Tensor): tf.Variable {
  return tf.tidy(() => tf.variable(tf.clone(factor)));
}

/** A's first values, `[..., inputSize, r]`, drawn as PEFT does. */
export function initialFactor(
  shape: number[],
  initialisation: LoraLayerConfig['initLoraWeights'],
  seed: number,
): tf.Variable {
  const [inputSize, r] = shape.slice(-2) as [number, number];
  if (initialisation === 'gaussian') return normalVariable(shape, 1 / r, seed);
  // Kaiming-uniform with a = sqrt(5): bound = sqrt(6 / ((1 + 5) inputSize)).
  const bound = Math.sqrt(1 / inputSize);
  return tf.tidy(() => tf.variable(tf.randomUniform(shape, -bound, bound, 'float32', seed)));
}
