import * as tf from '@tensorflow/tfjs-core';

/**
 * `tf.customGrad` with types that hold. What `backward` needs must be in `keep`: a tensor that only the closure
 * captures is disposed at the end of the forward pass.
 *
 * @param inputs the differentiable inputs, in the order of `backward`'s results.
 * @param forward computes the value, or a list of the value and what else `backward` needs; its ops are not taped.
 * @param keep the tensors that `backward` receives, chosen once all that `forward` computes exists.
 * @param backward maps the value's gradient to one gradient per input.
 */
export function withGradient<T extends tf.Tensor>(
  inputs: readonly tf.Tensor[],
  forward: () => tf.Tensor | [value: tf.Tensor, ...rest: tf.Tensor[]],
  keep: (value: tf.Tensor, ...rest: tf.Tensor[]) => tf.Tensor[],
  backward: (dy: tf.Tensor, kept: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): T {
  const op = tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const made = forward();
    const [value, ...rest] = Array.isArray(made) ? made : [made];
    save(keep(value, ...rest));
    return { value, gradFunc: backward };
  });
  return op(...inputs) as T;
}
