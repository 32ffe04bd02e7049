import * as tf from '@tensorflow/tfjs-core';

/** Whether `dataSync` works on the active backend. WebGPU only reads asynchronously. */
export function readsAtOnce(): boolean {
  return tf.getBackend() !== 'webgpu';
}
