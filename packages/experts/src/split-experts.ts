import * as tf from '@tensorflow/tfjs-core';
import { StackedLinear } from '@therapeutic-moe/nn';
import { SwiGluExperts } from './swi-glu-experts.js';

/**
 * Fine-grained segmentation (DeepSeekMoE, arXiv:2401.06066): cuts every expert into `parts` along its intermediate
 * size. The parts `e * parts` to `e * parts + parts - 1` add up to expert `e`, so a router that sends a token to all of
 * them, each with the weight of the whole, changes nothing.
 *
 * @returns `experts * parts` experts with variables of their own; the caller owns them.
 * @throws when the intermediate size is not a multiple of `parts`.
 */
export function splitExperts({ gateUp, down }: SwiGluExperts, parts: number): SwiGluExperts {
  const { experts, inputSize: intermediate, outputSize: hidden } = down;
  const size = intermediate / parts;
  if (!Number.isInteger(parts) || parts < 1 || !Number.isInteger(size)) {
    throw new Error(
      `splitExperts: an intermediate size of ${intermediate} cannot be cut into ${parts} equal parts; use a divisor.`,
    );
  }
  if (!(gateUp instanceof StackedLinear && down instanceof StackedLinear))
    throw new Error('splitExperts: the experts are frozen and cannot be cut; load the model in float32.');
  const gateUps = tf.tidy(() => {
    // [experts, hidden, gate or up, part, size], and then the part before the hidden size, in two steps of rank 4.
    const columns = tf.reshape(gateUp.weight, [experts * hidden, 2, parts, size]);
    const perPart = tf.reshape(tf.transpose(columns, [0, 2, 1, 3]), [experts, hidden, parts, 2 * size]);
    return tf.variable(tf.reshape(tf.transpose(perPart, [0, 2, 1, 3]), [experts * parts, hidden, 2 * size]));
  });
  const downs = tf.tidy(() => tf.variable(tf.reshape(down.weight, [experts * parts, size, hidden])));
  return new SwiGluExperts(new StackedLinear(gateUps), new StackedLinear(downs));
}
