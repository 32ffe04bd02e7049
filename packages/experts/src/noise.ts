import * as tf from '@tensorflow/tfjs-core';
import { seedFor } from '@therapeutic-moe/nn';

/** How far copies of weights are moved apart, so that they can learn different things. */
export interface Noise {
  /** Standard deviation of the noise over that of the weights it is added to: 0.01 is one percent. */
  readonly deviation: number;
  readonly seed: number;
}

/**
 * A function that adds normal noise to tensor after tensor, each with a draw of its own; the same seed and order give
 * the same values on every backend.
 *
 * @throws when the deviation is not a positive number.
 */
export function noiseAdder({ deviation, seed }: Noise): (x: tf.Tensor) => tf.Tensor {
  if (!(deviation > 0 && Number.isFinite(deviation))) {
    throw new Error(`noise: deviation must be above 0, got ${deviation}; leave noise out for exact copies.`);
  }
  let drawn = 0;
  return (x) =>
    tf.tidy(() => {
      const scale = tf.mul(tf.sqrt(tf.moments(x).variance), deviation);
      const normal = tf.randomNormal(x.shape, 0, 1, 'float32', seedFor(seed, `noise.${drawn++}`));
      return tf.add(x, tf.mul(normal, scale));
    });
}
