import type * as tf from '@tensorflow/tfjs-core';
import { installAttention } from './attention.js';
import { installConcat } from './concat.js';
import { installFrozen } from './frozen.js';
import { installInt8 } from './int8.js';
import { installLayers } from './layers.js';
import { installProducts } from './products.js';
import { Recorder } from './recorder.js';
import { installRotate } from './rotate.js';
import { installRows } from './rows.js';
import { installSums } from './sums.js';

/** Compute shaders of our own beside tfjs's, recorded into the same pass: nothing waits and nothing is read back. */
export function installWebGpuKernels(backend: tf.KernelBackend): void {
  const recorder = new Recorder(backend);
  installProducts(recorder);
  installRows(recorder);
  installLayers(recorder);
  installRotate(recorder);
  installInt8(recorder);
  installFrozen(recorder);
  installAttention(recorder);
  installConcat(recorder);
  installSums();
}
