import * as tf from '@tensorflow/tfjs-core';

/**
 * `tf.customGrad` with types that hold. What `backward` needs must be in `keep`: a tensor that only the closure
 * captures is disposed at the end of the forward pass.
 *
 * @param inputs the differentiable inputs, in the order of `backward`'s results.
 * @param forward computes the value; its ops are not taped.
 * @param keep the tensors that `backward` receives, chosen once the value exists.
 * @param backward maps the value's gradient to one gradient per input.
 */
export function withGradient<T extends tf.Tensor>(
  inputs: readonly tf.Tensor[],
  forward: () => tf.Tensor,
  keep: (value: tf.Tensor) => tf.Tensor[],
  backward: (dy: tf.Tensor, kept: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): T {
  const op = tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const value = forward();
    save(keep(value));
    return { value, gradFunc: backward };
  });
  return op(...inputs) as T;
}
