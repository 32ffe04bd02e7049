import * as tf from '@tensorflow/tfjs-core';
import { installAttention } from './attention.js';
import { installCrossEntropy } from './cross-entropy.js';
import { installFrozen } from './frozen.js';
import { installLayers } from './layers.js';
import { Operands } from './operands.js';
import { installOptimiser } from './optimiser.js';
import { installProducts } from './products.js';
import { type NodeBackend, RawOps } from './raw-ops.js';
import { installRows } from './rows.js';

/** Installs our kernels into the active tfjs-node backend. @returns what sets the precision of their products. */
export function installTensorflowKernels(): Operands {
  const ops = new RawOps(tf.backend() as NodeBackend);
  const operands = new Operands(ops);
  installProducts(ops, operands);
  installFrozen(ops, operands);
  installAttention(ops);
  installLayers(ops);
  installRows(ops, operands);
  installCrossEntropy(ops);
  installOptimiser(ops, operands);
  return operands;
}
