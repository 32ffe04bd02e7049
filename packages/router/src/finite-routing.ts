import * as tf from '@tensorflow/tfjs-core';
import type { Routing } from './routing.js';

/**
 * Refuses a routing whose gates are not numbers: top-k would still send each token somewhere. Reads the gates, so it is
 * for training steps and tests; where a step reads scalars anyway, `finiteProbe` can ride along.
 *
 * @param where the layer, for the message: `'layers.3'`. @param mask `[tokens]`; padded tokens are not looked at.
 * @throws (rejects) naming the layer, the token and the value.
 */
export async function assertFiniteRouting(
  routing: Pick<Routing, 'gates'>,
  where: string,
  mask?: tf.Tensor1D,
): Promise<void> {
  const real = await mask?.data();
  for (const gate of routing.gates) {
    const values = await gate.data();
    const width = gate.shape[1];
    const bad = values.findIndex((value, i) => !Number.isFinite(value) && real?.[Math.floor(i / width)] !== 0);
    if (bad >= 0) {
      throw new Error(
        `${where}: the gate gives token ${Math.floor(bad / width)} the logit ${values[bad]}; its hidden state or the gate's weights are not finite. Lower the learning rate or clip gradients.`,
      );
    }
  }
}

/**
 * 0 where all gates are finite, NaN where any number is not, without reading anything back: add it to a scalar that is
 * read anyway, such as a loss. WebGPU lets a driver assume that NaN does not occur, so there only
 * `assertFiniteRouting` is sure.
 *
 * @returns a scalar. Caller disposes.
 */
export function finiteProbe(routing: Pick<Routing, 'gates'>): tf.Scalar {
  return tf.tidy(() => tf.addN(routing.gates.map((gate) => tf.sum(tf.mul(gate, 0)))) as tf.Scalar);
}
