import * as tf from '@tensorflow/tfjs-core';
import { groupedMatMulGradient, groupedMatMulOnDeviceGradient } from './grouped-mat-mul.js';
import { installTensorflowKernels } from './tensorflow/install-tensorflow-kernels.js';
import { openWasmHeap } from './wasm/heap.js';
import { installLayers } from './wasm/layers.js';
import { installProducts } from './wasm/products.js';
import { installRows } from './wasm/rows.js';
import { installWebGpuKernels } from './webgpu/install-webgpu-kernels.js';

/** Which of our kernels a backend runs: `none` means that every op runs its plain TensorFlow.js form. */
export interface InstalledKernels {
  readonly kernels: 'relaxed-simd' | 'simd' | 'raw-matmul' | 'wgsl' | 'none';
}

const installed = new WeakMap<object, InstalledKernels>();

/**
 * Installs this package's kernels into the active backend, once per backend instance; a later call returns what was
 * installed.
 *
 * @param backendName the name of the active backend: `wasm`, `tensorflow`, `webgpu` or `cpu`.
 * @throws when `backendName` is not the active backend, or the wasm backend is not version 4.22.
 */
export async function installKernels(backendName: string): Promise<InstalledKernels> {
  if (tf.getBackend() !== backendName) {
    throw new Error(
      `installKernels: the active backend is '${tf.getBackend()}', not '${backendName}'; call tf.setBackend first.`,
    );
  }
  const backend = tf.backend();
  const done = installed.get(backend);
  if (done) return done;
  const result = await install(backendName);
  installed.set(backend, result);
  return result;
}

async function install(backendName: string): Promise<InstalledKernels> {
  if (backendName === 'tensorflow') {
    installTensorflowKernels();
    return { kernels: 'raw-matmul' };
  }
  if (backendName === 'webgpu') {
    if (!tf.getGradient('GroupedMatMulOnDevice')) tf.registerGradient(groupedMatMulOnDeviceGradient);
    installWebGpuKernels(tf.backend());
    return { kernels: 'wgsl' };
  }
  if (backendName !== 'wasm') return { kernels: 'none' };
  const heap = await openWasmHeap();
  if (!tf.getGradient('GroupedMatMul')) tf.registerGradient(groupedMatMulGradient);
  installProducts(heap);
  installRows(heap);
  installLayers(heap);
  return { kernels: heap.instructions };
}
