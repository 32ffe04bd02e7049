import * as tf from '@tensorflow/tfjs-core';
import { dims, StackedLinear } from '@therapeutic-moe/nn';
import { type Noise, noiseAdder } from './noise.js';
import { SwiGluExperts } from './swi-glu-experts.js';

/** How many copies, and how alike. */
export interface UpcycleOptions {
  readonly experts: number;
  /** Added to every copy but the first. Absent: exact copies. */
  readonly noise?: Noise;
}

/**
 * Sparse upcycling (arXiv:2212.05055): every expert starts as a copy of a trained dense feed-forward layer. With routing
 * weights that sum to 1 (`normTopkProb`, or softmax after top-k) the layer then equals the dense one, whatever the
 * router chooses.
 *
 * @param gateUp `[hidden, 2 * intermediate]`, gate first. @param down `[intermediate, hidden]`. Both stay the caller's.
 * @returns experts that the caller owns.
 * @throws when the matrices do not fit together, or `experts` is not a whole number of 1 or more.
 */
export function upcycleExperts(gateUp: tf.Tensor, down: tf.Tensor, { experts, noise }: UpcycleOptions): SwiGluExperts {
  const { hidden, width } = dims('upcycleExperts: gateUp', gateUp, ['hidden', 'width']);
  dims('upcycleExperts: down', down, ['intermediate', 'hidden'], { intermediate: width / 2, hidden });
  if (!Number.isInteger(experts) || experts < 1) {
    throw new Error(`upcycleExperts: experts must be a whole number of 1 or more, got ${experts}.`);
  }
  const perturb = noise ? noiseAdder(noise) : tf.clone;
  const copies = (dense: tf.Tensor) =>
    tf.tidy(() =>
      tf.variable(tf.stack(Array.from({ length: experts }, (_, expert) => (expert === 0 ? dense : perturb(dense))))),
    );
  return new SwiGluExperts(new StackedLinear(copies(gateUp)), new StackedLinear(copies(down)));
}
