import * as tf from '@tensorflow/tfjs-core';

/** Hugging Face's `hidden_act`: `gelu` is exact, by the error function; `gelu_pytorch_tanh` is its approximation. */
export type HiddenAct = 'gelu' | 'gelu_pytorch_tanh';

/** What is left of a value that is kept with the probability that a normal number is below it (arXiv:1606.08415). */
const forms: Record<HiddenAct, (x: tf.Tensor) => tf.Tensor> = {
  gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  gelu_pytorch_tanh: (x) => {
    const cubic = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(cubic), 1));
  },
};

/** @returns the shape of `x`. Caller disposes. */
export function gelu<T extends tf.Tensor>(x: T, hiddenAct: HiddenAct): T {
  return tf.tidy(() => forms[hiddenAct](x)) as T;
}

/** @throws when the name is not one of the two. */
export function refuseHiddenAct(where: string, hiddenAct: HiddenAct): void {
  if (!Object.hasOwn(forms, hiddenAct)) {
    throw new Error(`${where}: hiddenAct must be one of ${Object.keys(forms).join(', ')}, got '${String(hiddenAct)}'.`);
  }
}
