import '@tensorflow/tfjs'; // registers the gradients
import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

/** Activates the wasm backend as TensorFlow.js ships it: none of our kernels. */
export async function useStockWasm(): Promise<void> {
  if (!(await tf.setBackend('wasm'))) throw new Error('bench: tfjs could not initialise its wasm backend.');
  await tf.ready();
}
