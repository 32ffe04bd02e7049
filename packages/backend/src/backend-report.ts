import type { InstallOptions } from '@therapeutic-moe/kernels';
import type { WebGpuDeviceReport } from './webgpu-device.js';

/** The TensorFlow.js backends this package can prepare, in order of preference. */
export type BackendName = 'tensorflow' | 'webgpu' | 'wasm' | 'cpu';

/** A backend by name, or `auto` for the first one that works here. */
export type BackendChoice = 'auto' | BackendName;

/** What receives the one line about the choice; `console` and `consola` both fit. */
export interface Logger {
  info(message: string): void;
}

/** Options of {@link useBackend}. `precision` is that of `installKernels`: bfloat16 products, on `tensorflow` only. */
export interface UseBackendOptions extends InstallOptions {
  /** Receives the report's line once the backend is active. */
  logger?: Logger;
  /** Folder or URL prefix of tfjs-backend-wasm's binaries. Browsers need it; Node finds the binaries by itself. */
  wasmPaths?: string;
}

/** What was chosen, and why. */
export interface BackendReport {
  /** The active backend, as `tf.getBackend()` names it. */
  name: BackendName;
  /** Why this one, and why none of those before it. */
  reason: string;
  /** The whole report in one line, as the logger gets it. */
  line: string;
  /** Which of our kernels run on it: `relaxed-simd`, `simd`, `none`, or what the kernels package answers for this backend. */
  kernels: string;
  /** How many threads they work on: more than one on `wasm` only. */
  threads: number;
  /** The GPU device, on `webgpu` only. */
  device?: WebGpuDeviceReport;
}
