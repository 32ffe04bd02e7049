import * as tf from '@tensorflow/tfjs-core';
import { shareMemory } from '@therapeutic-moe/kernels';
import type { BackendName, UseBackendOptions } from './backend-report.js';
import { clearDeviceFailure, recordDeviceFailure, throwIfDeviceFailed } from './device-failure.js';
import { isMissing, isNode, reasonOf } from './node-modules.js';
import { loadTensorflowAddon } from './tensorflow-addon.js';
import { openWebGpuDevice, type WebGpuDeviceReport } from './webgpu-device.js';

/** What came of trying one backend: it is active, or it is not and why. */
export type Activation = { active: string; device?: WebGpuDeviceReport } | { missing: string };

/** Tries to make one backend active. `explicit` when the user named it, so that a software GPU will do. */
export function activate(name: BackendName, explicit: boolean, options: UseBackendOptions): Promise<Activation> {
  switch (name) {
    case 'tensorflow':
      return activateTensorflow();
    case 'webgpu':
      return activateWebGpu(explicit);
    case 'wasm':
      return activateWasm(options.wasmPaths);
    case 'cpu':
      return activateCpu();
  }
}

async function activateTensorflow(): Promise<Activation> {
  const outcome = await loadTensorflowAddon();
  if ('missing' in outcome) return outcome;
  if (!tf.findBackendFactory('tensorflow')) {
    return { missing: `${outcome.loaded} registered its backend on another copy of @tensorflow/tfjs-core` };
  }
  return (await select('tensorflow')) ?? { active: outcome.loaded };
}

let working: WebGpuDeviceReport | undefined;

async function activateWebGpu(explicit: boolean): Promise<Activation> {
  if (working && !(working.software && !explicit)) {
    return (await select('webgpu')) ?? { active: working.adapter, device: working };
  }
  const opened = await openWebGpuDevice(explicit);
  if ('missing' in opened) return opened;
  const { device, info, report } = opened;
  let backends: typeof import('@tensorflow/tfjs-backend-webgpu');
  try {
    backends = await import('@tensorflow/tfjs-backend-webgpu');
  } catch (thrown) {
    device.destroy();
    if (isMissing(thrown, 'tfjs-backend-webgpu')) {
      return { missing: '@tensorflow/tfjs-backend-webgpu is not installed' };
    }
    return { missing: `@tensorflow/tfjs-backend-webgpu does not load: ${reasonOf(thrown)}` };
  }
  clearDeviceFailure();
  watch(device);
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu'); // tfjs's own registration asks for too little
  tf.registerBackend('webgpu', () => failLoudly(new backends.WebGPUBackend(device, info)), 3);
  const failed = await select('webgpu');
  if (failed) return failed;
  working = report;
  return { active: report.adapter, device: report };
}

/** Collects what the device reports outside of any call; without this a failed shader is a silent zero. */
function watch(device: GPUDevice): void {
  device.addEventListener('uncapturederror', (event) => {
    working = undefined;
    recordDeviceFailure((event as GPUUncapturedErrorEvent).error.message);
  });
  void device.lost.then(({ reason, message }) => {
    working = undefined;
    if (reason !== 'destroyed') recordDeviceFailure(`the device was lost (${message})`);
  });
}

/** Reading a tensor waits for the device, so by then its faults are known: throw them instead of the numbers. */
function failLoudly<T extends { read(dataId: object): Promise<tf.BackendValues> }>(backend: T): T {
  const read = backend.read.bind(backend);
  backend.read = async (dataId) => {
    throwIfDeviceFailed();
    const values = await read(dataId);
    throwIfDeviceFailed();
    return values;
  };
  return backend;
}

async function activateWasm(wasmPaths: string | undefined): Promise<Activation> {
  if (typeof WebAssembly === 'undefined') return { missing: 'there is no WebAssembly here' };
  try {
    const wasm = await import('@tensorflow/tfjs-backend-wasm');
    const known = tf.engine().registry.wasm !== undefined;
    const folder = wasmPaths ?? (await nodeWasmFolder());
    const shared = folder && !known ? await sharedWasm(folder) : undefined;
    if (shared) wasm.setWasmPaths(shared, true);
    else if (folder && !known) wasm.setWasmPaths(folder);
  } catch (thrown) {
    if (isMissing(thrown, 'tfjs-backend-wasm')) return { missing: '@tensorflow/tfjs-backend-wasm is not installed' };
    return { missing: `@tensorflow/tfjs-backend-wasm does not load: ${reasonOf(thrown)}` };
  }
  return (await select('wasm')) ?? { active: 'WebAssembly' };
}

/** The folder of the binaries, so that a bundle of this package still finds them. */
async function nodeWasmFolder(): Promise<string | undefined> {
  if (!isNode()) return undefined;
  const { createRequire } = await import('node:module');
  const { dirname, sep } = await import('node:path');
  try {
    return dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')) + sep;
  } catch {
    return undefined; // a bundle that carries the binaries beside itself
  }
}

/**
 * The paths for a wasm backend whose heap several threads can work on: tfjs's own SIMD binary with its memory declared
 * shared, as a URL that `fetch` reads. tfjs's build with threads does not start in Node (tfjs#3830); this is the one
 * without, and its own ops stay on one thread.
 */
async function sharedWasm(folder: string): Promise<Record<string, string> | undefined> {
  if (!isNode() || !(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'))) return undefined;
  const { readFile } = await import('node:fs/promises');
  try {
    const binary = shareMemory(await readFile(`${folder}${simdBinary}`));
    if (!binary) return undefined;
    const url = URL.createObjectURL(new Blob([binary]));
    return { [simdBinary]: url, 'tfjs-backend-wasm.wasm': url, 'tfjs-backend-wasm-threaded-simd.wasm': url };
  } catch {
    return undefined; // not a folder of this machine: tfjs says what is wrong with it
  }
}

const simdBinary = 'tfjs-backend-wasm-simd.wasm';

async function activateCpu(): Promise<Activation> {
  const failed = await select('cpu');
  return failed ?? { active: 'plain JavaScript' };
}

async function select(name: BackendName): Promise<{ missing: string } | undefined> {
  try {
    const ok = await tf.setBackend(name);
    await tf.ready();
    if (name === 'cpu') silenceAdvertisement();
    return ok ? undefined : { missing: `tfjs could not initialise its ${name} backend` };
  } catch (thrown) {
    return { missing: `tfjs could not initialise its ${name} backend: ${reasonOf(thrown)}` };
  }
}

/** The cpu backend advises at its first use to install tfjs-node; our report says what is missing, in one line. */
function silenceAdvertisement(): void {
  (tf.backend() as unknown as { firstUse?: boolean }).firstUse = false;
}
