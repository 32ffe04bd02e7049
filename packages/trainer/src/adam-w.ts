import * as tf from '@tensorflow/tfjs-core';
import { adamWUpdate } from '@therapeutic-moe/kernels';

/** Constants of AdamW. */
export interface AdamWSettings {
  /** Decay of the first moment. Default 0.9. */
  readonly beta1?: number;
  /** Decay of the second moment. Default 0.95. */
  readonly beta2?: number;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number;
  /** Decoupled decay of matrices (rank 2 and above); vectors such as norm weights do not decay. Default 0.1. */
  readonly weightDecay?: number;
  /** Factor on the learning rate of a parameter, by its path. Absent: 1 for all. */
  readonly rateFactor?: (path: string) => number;
}

/** AdamW (arXiv:1711.05101) over named Variables; owns the two moments of each. */
export class AdamW {
  readonly settings: Required<Omit<AdamWSettings, 'rateFactor'>>;
  readonly #rateFactor: (path: string) => number;
  readonly firstMoments: ReadonlyMap<string, tf.Variable>;
  readonly secondMoments: ReadonlyMap<string, tf.Variable>;

  /** @param parameters the Variables to update; they stay the caller's. */
  constructor(
    private readonly parameters: ReadonlyMap<string, tf.Variable>,
    { rateFactor = () => 1, ...settings }: AdamWSettings = {},
  ) {
    this.#rateFactor = rateFactor;
    this.settings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, ...settings };
    const zeros = () =>
      new Map(
        [...parameters].map(([name, parameter]) => [name, tf.tidy(() => tf.variable(tf.zeros(parameter.shape)))]),
      );
    this.firstMoments = zeros();
    this.secondMoments = zeros();
  }

  /**
   * One update of every parameter.
   *
   * @param gradients by parameter path; a missing one counts as zero. Stay the caller's.
   * @param step number of this step, from 1.
   * @param gradientScale factor on all gradients (clipping).
   */
  update(gradients: ReadonlyMap<string, tf.Tensor>, step: number, learningRate: number, gradientScale: number): void {
    for (const [name, parameter] of this.parameters) {
      const given = gradients.get(name);
      const gradient = given ?? tf.zeros(parameter.shape);
      adamWUpdate(
        parameter,
        gradient,
        this.firstMoments.get(name) as tf.Variable,
        this.secondMoments.get(name) as tf.Variable,
        {
          ...this.settings,
          weightDecay: parameter.rank >= 2 ? this.settings.weightDecay : 0,
          learningRate: learningRate * this.#rateFactor(name),
          step,
          gradientScale,
        },
      );
      if (!given) gradient.dispose();
    }
  }

  dispose(): void {
    for (const moments of [this.firstMoments, this.secondMoments])
      for (const moment of moments.values()) moment.dispose();
  }
}
