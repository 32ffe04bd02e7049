import * as tf from '@tensorflow/tfjs-core';

/** In-place writing would change every tensor that shares the memory, so it is only done where nobody else does. */
export function isOnlyOwner({ dataId, dtype }: tf.Tensor): boolean {
  const backend = tf.backend() as tf.KernelBackend & {
    refCount?(dataId: object): number;
    tensorMap?: { get(dataId: object): { dtype?: unknown } | undefined };
  };
  const stored = backend.tensorMap?.get(dataId)?.dtype; // WebGPU's float32 cast of an int32 keeps its integers
  return backend.refCount?.(dataId) === 1 && (typeof stored !== 'string' || stored === dtype);
}
