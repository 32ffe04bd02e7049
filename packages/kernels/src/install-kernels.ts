import * as tf from '@tensorflow/tfjs-core';
import { groupedMatMulGradient, groupedMatMulOnDeviceGradient } from './grouped-mat-mul.js';
import { installTensorflowKernels } from './tensorflow/install-tensorflow-kernels.js';
import type { Precision } from './tensorflow/operands.js';
import { installAttention } from './wasm/attention.js';
import { installDecodeLayer } from './wasm/decode-layer.js';
import { installFrozen } from './wasm/frozen.js';
import { openWasmHeap } from './wasm/heap.js';
import { installIdentity } from './wasm/identity.js';
import { installInt8 } from './wasm/int8.js';
import { installLayers } from './wasm/layers.js';
import { installProducts } from './wasm/products.js';
import { installRows } from './wasm/rows.js';
import { installSlice } from './wasm/slice.js';
import { installWebGpuKernels } from './webgpu/install-webgpu-kernels.js';

/** Which of our kernels a backend runs: `none` means that every op runs its plain TensorFlow.js form. */
export interface InstalledKernels {
  readonly kernels: 'relaxed-simd' | 'simd' | 'tensorflow-ops' | 'wgsl' | 'none';
  /** Threads that our kernels work on: more than one on wasm only, `TMOE_THREADS` or one per core up to four. */
  readonly threads: number;
}

/** Settings of `installKernels`. */
export interface InstallOptions {
  /**
   * `bfloat16` rounds the operands and the result of large products, sums in float32, and leaves the rest float32: weights, small products
   * such as the router's, and everything that is not a product. On `tensorflow` only. Default `float32`.
   */
  readonly precision?: Precision;
}

interface Installation extends InstalledKernels {
  /** Present where there is a choice. */
  readonly usePrecision?: (precision: Precision) => void;
}

const installed = new WeakMap<object, Installation>();

/**
 * Installs this package's kernels into the active backend, once per backend instance. A later call returns what was
 * installed, and sets the precision again.
 *
 * @param backendName the name of the active backend: `wasm`, `tensorflow`, `webgpu` or `cpu`.
 * @throws when `backendName` is not the active backend, the wasm backend is not version 4.22, or the backend has no products of the
 *   precision.
 */
export async function installKernels(
  backendName: string,
  { precision = 'float32' }: InstallOptions = {},
): Promise<InstalledKernels> {
  if (tf.getBackend() !== backendName) {
    throw new Error(
      `installKernels: the active backend is '${tf.getBackend()}', not '${backendName}'; call tf.setBackend first.`,
    );
  }
  if (precision !== 'float32' && precision !== 'bfloat16') {
    throw new Error(`installKernels: precision must be float32 or bfloat16, got '${String(precision)}'.`);
  }
  if (precision !== 'float32' && backendName !== 'tensorflow') {
    throw new Error(
      `installKernels: precision '${precision}' needs the backend 'tensorflow', got '${backendName}'; it computes in float32.`,
    );
  }
  const backend = tf.backend();
  const installation = installed.get(backend) ?? (await install(backendName));
  installed.set(backend, installation);
  installation.usePrecision?.(precision);
  return { kernels: installation.kernels, threads: installation.threads };
}

async function install(backendName: string): Promise<Installation> {
  if (backendName === 'webgpu') {
    if (!tf.getGradient('GroupedMatMulOnDevice')) tf.registerGradient(groupedMatMulOnDeviceGradient);
    installWebGpuKernels(tf.backend());
    return { kernels: 'wgsl', threads: 1 };
  }
  if (backendName !== 'tensorflow' && backendName !== 'wasm') return { kernels: 'none', threads: 1 };
  if (!tf.getGradient('GroupedMatMul')) tf.registerGradient(groupedMatMulGradient);
  if (backendName === 'tensorflow') {
    const operands = installTensorflowKernels();
    return { kernels: 'tensorflow-ops', threads: 1, usePrecision: (precision) => operands.use(precision) };
  }
  const heap = await openWasmHeap();
  installProducts(heap);
  installRows(heap);
  installLayers(heap);
  installIdentity();
  installSlice(heap);
  installAttention(heap);
  installInt8(heap);
  installFrozen(heap);
  installDecodeLayer(heap);
  return { kernels: heap.instructions, threads: heap.threads };
}
