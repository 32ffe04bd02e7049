import * as tf from '@tensorflow/tfjs-core';

/**
 * What `f` gives, and the gradients of the sum of it, in one pass. Multiply by fixed numbers inside of `f`, so that a
 * gradient that mixes up elements cannot pass.
 *
 * @param f a function of the inputs and the variables.
 * @param inputs float32 tensors; not disposed. @param variables those that `f` uses.
 * @returns the value, one gradient per input, one per variable. Caller disposes.
 */
export function valueAndGradients(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  variables: Iterable<tf.Variable>,
): tf.Tensor[] {
  const varied = inputs.map((input) => tf.variable(input));
  const results = tf.tidy(() => {
    let value: tf.Tensor | undefined;
    const { grads } = tf.variableGrads(() => {
      value = f(...varied);
      tf.keep(value);
      return tf.sum(value);
    });
    return [value!, ...[...varied, ...variables].map(({ name }) => grads[name]!)];
  });
  tf.dispose(varied);
  return results;
}
