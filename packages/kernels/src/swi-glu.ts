import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/**
 * Gated activation `silu(gate) * up` (GLU variants, arXiv:2002.05202) on gate and up projections that lie side by side.
 *
 * @param x `[rows, 2 * intermediate]`, gate first.
 * @returns `[rows, intermediate]`. Caller disposes.
 * @throws when the last dimension is odd.
 */
export function swiGlu(x: tf.Tensor2D): tf.Tensor2D {
  if (x.shape[1] % 2 !== 0) throw new Error(`swiGlu: x must be [rows, 2 * intermediate], got [${x.shape}].`);
  if (!hasFusedKernel('SwiGlu')) return swiGluReference(x);
  return withGradient(
    [x],
    // A kernel may give gate, up and the gate's sigmoid too, and then gets these back instead of x.
    () => runFusedKernel<tf.Tensor | [tf.Tensor, ...tf.Tensor[]]>('SwiGlu', { x }),
    (_, ...rest) => (rest.length > 0 ? rest : [x]),
    (dy, [first, up, sigmoid]) =>
      runFusedKernel('SwiGluGradient', up ? { dy, gate: first!, up, sigmoid: sigmoid! } : { dy, x: first! }),
  );
}

/** The plain form of `swiGlu`. Same arguments, result and gradient. */
export function swiGluReference(x: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const [gate, up] = tf.split(x, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
    return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up);
  });
}
