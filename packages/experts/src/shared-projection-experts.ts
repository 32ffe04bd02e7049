import * as tf from '@tensorflow/tfjs-core';
import {
  type BaseLinear,
  freshLayers,
  joinParameters,
  type LayerFactory,
  Linear,
  type Parameters,
  type StackedLayer,
  seedFor,
} from '@therapeutic-moe/nn';
import type { ExpertRows, Experts } from './experts.js';
import { stackedSizes, stackedWeights } from './stacked-layers.js';
import { StackedRmsNorm } from './stacked-rms-norm.js';

/**
 * Experts that share their input and output projections and differ in a norm and an inner matrix between them,
 * `out(silu(inner_e norm_e(in x)))`: few parameters per expert. A token goes
 * through the shared projections once for each expert that it visits.
 */
export class SharedProjectionExperts implements Experts {
  /** All parts are owned from now on: `[hidden, size]`, `[experts, size]`, `[experts, size, inner]`, `[inner, hidden]`. */
  constructor(
    readonly input: BaseLinear,
    readonly norm: StackedRmsNorm,
    readonly inner: StackedLayer,
    readonly output: BaseLinear,
  ) {
    const fits =
      input.outputSize === norm.scale.size &&
      input.outputSize === inner.inputSize &&
      norm.scale.experts === inner.experts &&
      inner.outputSize === output.inputSize &&
      output.outputSize === input.inputSize;
    if (!fits) {
      const sizes = ({ inputSize, outputSize }: BaseLinear) => `[${[inputSize, outputSize]}]`;
      const shapes = [sizes(input), `[${norm.scale.weight.shape}]`, stackedSizes(inner), sizes(output)];
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
    layers: LayerFactory = freshLayers,
  ): SharedProjectionExperts {
    const drawn = (path: string, spread: number) => ({ deviation: spread, seed: seedFor(seed, path) });
    return new SharedProjectionExperts(
      layers.linear('in_proj', hidden, intermediate, drawn('in_proj', deviation)),
      StackedRmsNorm.create(experts, intermediate, rmsNormEps),
      layers.stacked('inner_proj', experts, intermediate, intermediate, drawn('inner_proj', deviation)),
      layers.linear('out_proj', intermediate, hidden, drawn('out_proj', downDeviation)),
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
      ...joinParameters({ in_proj: this.input }),
      ['norm', this.norm.scale.weight],
      ...stackedWeights({ inner_proj: this.inner }),
      ...joinParameters({ out_proj: this.output }),
    ]);
  }

  dispose(): void {
    for (const part of [this.input, this.norm, this.inner, this.output]) part.dispose();
  }
}

function copyOf(linear: BaseLinear): Linear {
  if (!(linear instanceof Linear)) {
    throw new Error(
      'SharedProjectionExperts.rebuild: the shared projections are frozen and cannot be copied; load the model in float32.',
    );
  }
  const { weight, bias } = linear;
  const copy = (variable: tf.Variable) => tf.tidy(() => tf.variable(tf.clone(variable)));
  return new Linear(copy(weight), bias && copy(bias));
}
