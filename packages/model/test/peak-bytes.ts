import * as tf from '@tensorflow/tfjs-core';

/** The engine where it makes and frees what tensors are views of. `tf.memory` counts each view. */
interface Engine {
  state: { tensorInfo: WeakMap<object, { bytes: number }> };
  trackTensor(tensor: tf.TensorInfo, backend: unknown): void;
  removeDataId(data: object, backend: unknown): void;
}

/** The most bytes that tensors held at once during a computation beyond those before it; views count once. */
export function peakBytes(compute: () => tf.TensorContainer): number {
  const engine = tf.engine() as unknown as Engine;
  const { trackTensor, removeDataId } = engine;
  let [held, peak] = [0, 0];
  engine.trackTensor = (tensor, backend) => {
    const isView = engine.state.tensorInfo.has(tensor.dataId);
    trackTensor.call(engine, tensor, backend);
    if (!isView) held += engine.state.tensorInfo.get(tensor.dataId)!.bytes;
    peak = Math.max(peak, held);
  };
  engine.removeDataId = (data, backend) => {
    held -= engine.state.tensorInfo.get(data)?.bytes ?? 0;
    removeDataId.call(engine, data, backend);
  };
  try {
    tf.dispose(compute());
  } finally {
    engine.trackTensor = trackTensor;
    engine.removeDataId = removeDataId;
  }
  return peak;
}
