import * as tf from '@tensorflow/tfjs-core';
import type { RopeConfig } from './rope-config.js';
import { ropeFrequencies } from './rope-frequencies.js';

/** Cosines and sines of consecutive positions, each `[seq, headDim / 2]`. */
export interface RopeTables {
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/**
 * Rotary tables (RoFormer, arXiv:2104.09864, section 3.4.2): angle of pair i at position p is `p` times its frequency
 * (`ropeFrequencies`). Computed in float64 on the host.
 *
 * @param start first position. @param count number of positions.
 * @param length of the whole sequence, which `dynamic` and `longrope` scaling depend on. Absent: these positions end it.
 * @returns tables that the caller disposes.
 */
export function ropeTables(config: RopeConfig, start: number, count: number, length = start + count): RopeTables {
  const half = config.headDim / 2;
  const { frequencies, attentionFactor } = ropeFrequencies(config, length);
  const cos = new Float32Array(count * half);
  const sin = new Float32Array(count * half);
  for (let p = 0; p < count; p++) {
    for (let i = 0; i < half; i++) {
      const angle = (start + p) * frequencies[i]!;
      cos[p * half + i] = attentionFactor * Math.cos(angle);
      sin[p * half + i] = attentionFactor * Math.sin(angle);
    }
  }
  return { cos: tf.tensor2d(cos, [count, half]), sin: tf.tensor2d(sin, [count, half]) };
}
