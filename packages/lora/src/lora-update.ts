import * as tf from '@tensorflow/tfjs-core';
import {
  type ApplyContext,
  type BaseLinear,
  filledVariable,
  normalVariable,
  type Parameters,
  seedFor,
} from '@therapeutic-moe/nn';
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
   */
  constructor(
    readonly name: string,
    private readonly base: BaseLinear,
    readonly config: LoraLayerConfig,
    private readonly seed: number,
    columns: ColumnRange = { start: 0, size: base.outputSize },
  ) {
    this.#columns = columns;
    this.a = initialFactor([base.inputSize, config.r], config.initLoraWeights, seed);
    this.b = filledVariable([config.r, columns.size], 0);
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

  /** The update `scale A B`, `[inputSize, columns]`. Caller disposes. */
  delta(): tf.Tensor2D {
    return tf.tidy(() => tf.mul(tf.matMul(this.a as tf.Tensor2D, this.b as tf.Tensor2D), this.config.scale));
  }

  /** What each column is multiplied by, `[columns]`, where columns have lengths of their own. Caller disposes. */
  gain(): tf.Tensor | undefined {
    return this.magnitude?.gain(() => tf.add(this.#weight(), this.delta()));
  }

  /** What the whole weight of the base is changed by, `[inputSize, outputSize]`. Caller disposes. */
  change(): tf.Tensor {
    return tf.tidy(() => {
      const gain = this.gain();
      const delta = this.delta();
      return this.widened(gain ? tf.add(tf.mul(this.#weight(), tf.sub(gain, 1)), tf.mul(delta, gain)) : delta);
    });
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
    tf.dispose([this.a, this.b]);
    this.magnitude?.dispose();
  }

  /** The base's weight in its columns, `[inputSize, columns]`. */
  #weight(): tf.Tensor {
    return this.columnsOf(this.base.dense());
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
