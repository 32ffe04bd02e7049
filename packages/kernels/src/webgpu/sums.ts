import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';

/** Tensors added in one shader: with the output within the eight storage buffers that every WebGPU device has. */
const AT_ONCE = 7;

/** tfjs-webgpu adds any number of tensors in one shader, which fails past the device's storage buffers: add in turns. */
export function installSums(): void {
  const stock = tf.getKernel('AddN', 'webgpu')!.kernelFunc;
  replaceKernel('AddN', 'webgpu', ({ inputs, backend, attrs }) => {
    const add = (terms: readonly tf.TensorInfo[]) =>
      stock({ inputs: terms as unknown as tf.NamedTensorInfoMap, backend, attrs }) as tf.TensorInfo;
    const [first, ...rest] = chunks(inputs as unknown as readonly tf.TensorInfo[]);
    return rest.reduce((sum, terms) => {
      const more = add([sum, ...terms]);
      (backend as tf.KernelBackend).disposeData(sum.dataId);
      return more;
    }, add(first!));
  });
}

/** The first `AT_ONCE`, then pieces that leave room for the sum so far. */
function chunks(terms: readonly tf.TensorInfo[]): tf.TensorInfo[][] {
  const pieces = [terms.slice(0, AT_ONCE)];
  for (let at = AT_ONCE; at < terms.length; at += AT_ONCE - 1) pieces.push(terms.slice(at, at + AT_ONCE - 1));
  return pieces;
}
