import * as tf from '@tensorflow/tfjs-core';
import { copyRows, rowsOfItems } from '../copy-rows.js';
import { replaceKernel } from '../replace-kernel.js';

/** What this package uses of tfjs-backend-cpu 4.22. Private to tfjs, pinned by version. */
interface CpuBackend extends tf.KernelBackend {
  readonly data: { get(dataId: object): { values: Float32Array | Int32Array } };
}

/** The one op that the plain form cannot do: writing in place. */
export function installCpuKernels(): void {
  replaceKernel('WriteRows', 'cpu', ({ inputs, attrs }) => {
    const { target, rows } = inputs as Record<string, tf.TensorInfo>;
    const { starts } = attrs as unknown as { starts: number[] };
    const { data } = tf.backend() as CpuBackend;
    const valuesOf = ({ dataId }: tf.TensorInfo) => data.get(dataId).values;
    copyRows(valuesOf(target!), valuesOf(rows!), rowsOfItems(target!, rows!, starts));
    return [];
  });
}
