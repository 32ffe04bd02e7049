import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';

/**
 * A tensor whose every value is written before it is read: by `writeBlock`, say. Where clearing memory takes time it is
 * left as it was found, so the values may be anything.
 *
 * @returns float32 of this shape. Caller disposes.
 */
export function unfilled(shape: readonly number[]): tf.Tensor {
  return hasFusedKernel('Unfilled')
    ? runFusedKernel<tf.Tensor>('Unfilled', {}, { shape: [...shape] })
    : tf.zeros([...shape]);
}
