import * as tf from '@tensorflow/tfjs-core';

/** Registers a kernel, taking the place of one that tfjs brought under the same name; returns what stood there. */
export function replaceKernel(
  kernelName: string,
  backendName: string,
  kernelFunc: tf.KernelFunc,
): tf.KernelConfig | undefined {
  const previous = tf.getKernel(kernelName, backendName);
  if (previous) tf.unregisterKernel(kernelName, backendName);
  tf.registerKernel({ kernelName, backendName, kernelFunc });
  return previous;
}
