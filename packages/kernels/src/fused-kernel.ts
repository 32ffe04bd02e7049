import * as tf from '@tensorflow/tfjs-core';

/** Whether the active backend has a kernel of this name; where it has none, an op runs its plain TensorFlow.js form. */
export function hasFusedKernel(kernelName: string): boolean {
  return tf.getKernel(kernelName, tf.getBackend()) !== undefined;
}

/** Runs a kernel of ours on the active backend. Every attribute is a number, a boolean, a word or an array of numbers. */
export function runFusedKernel<T extends tf.Tensor | tf.Tensor[]>(
  kernelName: string,
  inputs: Record<string, tf.Tensor>,
  attrs: Record<string, number | boolean | string | readonly number[] | Int32Array> = {},
): T {
  return tf.engine().runKernel(kernelName, inputs, attrs as unknown as tf.NamedAttrMap) as T;
}
