import * as tf from '@tensorflow/tfjs-core';

/** In-place writing would change every tensor that shares the memory, so it is only done where nobody else does. */
export function isOnlyOwner({ dataId }: tf.Tensor): boolean {
  const backend = tf.backend() as tf.KernelBackend & { refCount?(dataId: object): number };
  return backend.refCount?.(dataId) === 1;
}
