import * as tf from '@tensorflow/tfjs-core';
import { Linear, type Parameters, StackedLinear, seedFor } from '@therapeutic-moe/nn';
import type { ExpertRows, Experts } from './experts.js';
import { StackedRmsNorm } from './stacked-rms-norm.js';

/**
 * Experts that share their input and output projections and differ in a norm and an inner matrix between them,
 * `out(silu(inner_e norm_e(in x)))`: few parameters per expert. A token goes
 * through the shared projections once for each expert that it visits.
 */
export class SharedProjectionExperts implements Experts {
  /** All parts are owned from now on: `[hidden, size]`, `[experts, size]`, `[experts, size, inner]`, `[inner, hidden]`. */
  constructor(
    readonly input: Linear,
    readonly norm: StackedRmsNorm,
    readonly inner: StackedLinear,
    readonly output: Linear,
  ) {
    const fits =
      input.outputSize === norm.scale.size &&
      input.outputSize === inner.inputSize &&
      norm.scale.experts === inner.experts &&
      inner.outputSize === output.inputSize &&
      output.outputSize === input.inputSize;
    if (!fits) {
      const shapes = [input.weight, norm.scale.weight, inner.weight, output.weight].map(({ shape }) => `[${shape}]`);
      throw new Error(
        'SharedProjectionExperts: input [hidden, size], norm [experts, size], inner [experts, size, inner] and ' +
          `output [inner, hidden] do not fit: ${shapes.join(', ')}.`,
      );
    }
  }

  /** Normally distributed weights; `downDeviation` is that of the output projection. */
  static create(
    { experts, hidden, intermediate }: { experts: number; hidden: number; intermediate: number },
    {
      deviation,
      downDeviation,
      rmsNormEps,
      seed,
    }: { deviation: number; downDeviation: number; rmsNormEps: number; seed: number },
  ): SharedProjectionExperts {
    return new SharedProjectionExperts(
      Linear.create(hidden, intermediate, { deviation, seed: seedFor(seed, 'in_proj') }),
      StackedRmsNorm.create(experts, intermediate, rmsNormEps),
      StackedLinear.create(experts, intermediate, intermediate, { deviation, seed: seedFor(seed, 'inner_proj') }),
      Linear.create(intermediate, hidden, { deviation: downDeviation, seed: seedFor(seed, 'out_proj') }),
    );
  }

  get experts(): number {
    return this.inner.experts;
  }

  get hidden(): number {
    return this.input.inputSize;
  }

  applyGrouped(rows: tf.Tensor2D, { offsets, groupOfRow }: ExpertRows): tf.Tensor2D {
    return tf.tidy(() => {
      const normed = this.norm.applyGrouped(this.input.apply(rows) as tf.Tensor2D, groupOfRow);
      return this.#finish(this.inner.applyGrouped(normed, offsets));
    });
  }

  applyExpert(hidden: tf.Tensor2D, expert: number): tf.Tensor2D {
    return tf.tidy(() => {
      const normed = this.norm.applyExpert(this.input.apply(hidden) as tf.Tensor2D, expert);
      return this.#finish(this.inner.applyExpert(normed, expert));
    });
  }

  #finish(inner: tf.Tensor2D): tf.Tensor2D {
    return this.output.apply(tf.mul(inner, tf.sigmoid(inner))) as tf.Tensor2D;
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): SharedProjectionExperts {
    return new SharedProjectionExperts(
      copyOf(this.input),
      this.norm.rebuild(change),
      this.inner.rebuild(change),
      copyOf(this.output),
    );
  }

  parameters(): Parameters {
    return new Map([
      ...prefixed('in_proj', this.input),
      ['norm', this.norm.scale.weight],
      ['inner_proj', this.inner.weight],
      ...prefixed('out_proj', this.output),
    ]);
  }

  dispose(): void {
    for (const part of [this.input, this.norm, this.inner, this.output]) part.dispose();
  }
}

function copyOf({ weight, bias }: Linear): Linear {
  const copy = (variable: tf.Variable) => tf.tidy(() => tf.variable(tf.clone(variable)));
  return new Linear(copy(weight), bias && copy(bias));
}

function prefixed(path: string, linear: Linear): [string, tf.Variable][] {
  return [...linear.parameters()].map(([name, variable]) => [`${path}.${name}`, variable]);
}
