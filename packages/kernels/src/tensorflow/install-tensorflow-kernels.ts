import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';

/** What this package uses of tfjs-node's backend: its binding runs any TensorFlow op. Private to tfjs 4.22. */
interface NodeBackend extends tf.KernelBackend {
  binding: { TF_ATTR_BOOL: number; TF_ATTR_TYPE: number; TF_FLOAT: number };
  executeSingleOutput(
    name: string,
    attrs: { name: string; type: number; value: unknown }[],
    inputs: tf.TensorInfo[],
  ): tf.Tensor;
}

/**
 * Rank-2 float32 products run TensorFlow's MatMul: tfjs-node sends them to BatchMatMul, which reaches half its speed.
 */
export function installTensorflowKernels(): void {
  const stock = tf.getKernel('BatchMatMul', 'tensorflow')!.kernelFunc;
  replaceKernel('BatchMatMul', 'tensorflow', (call) => {
    const { a, b } = call.inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const { transposeA, transposeB } = call.attrs as unknown as { transposeA: boolean; transposeB: boolean };
    const plain = a.dtype === 'float32' && b.dtype === 'float32' && isSingleMatrix(a) && isSingleMatrix(b);
    if (!plain || a.shape.length !== b.shape.length) return stock(call);
    const backend = tf.backend() as NodeBackend;
    const { TF_ATTR_BOOL, TF_ATTR_TYPE, TF_FLOAT } = backend.binding;
    // A kernel runs in its caller's scope, so the views of higher rank are tidied here.
    return tf.tidy(() => {
      const product = backend.executeSingleOutput(
        'MatMul',
        [
          { name: 'transpose_a', type: TF_ATTR_BOOL, value: transposeA },
          { name: 'transpose_b', type: TF_ATTR_BOOL, value: transposeB },
          { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
        ],
        [asMatrix(a), asMatrix(b)],
      );
      return a.shape.length === 2 ? product : tf.reshape(product, [...a.shape.slice(0, -2), ...product.shape]);
    });
  });
}

function isSingleMatrix(t: tf.TensorInfo): boolean {
  return t.shape.slice(0, -2).every((size) => size === 1);
}

function asMatrix(t: tf.TensorInfo): tf.TensorInfo {
  return t.shape.length === 2 ? t : tf.reshape(t as tf.Tensor, t.shape.slice(-2));
}
