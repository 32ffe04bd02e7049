import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';

/**
 * tfjs-wasm's Identity copies, and the tape takes an Identity of every tensor that it saves. Values are never written
 * in place while two tensors have them (`adamWUpdate` looks), so a second name for the same memory is enough.
 */
export function installIdentity(): void {
  const stock = tf.getKernel('Identity', 'wasm')!.kernelFunc;
  replaceKernel('Identity', 'wasm', (call) => {
    const { x } = call.inputs as { x: tf.TensorInfo };
    if (x.dtype === 'string') return stock(call);
    tf.backend().incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
  });
}
