import * as tf from '@tensorflow/tfjs-core';
import { refuseUnknownKeys } from '@therapeutic-moe/nn';

/**
 * How positions past the trained length are mapped. `linear` divides every position by `factor` (Position
 * Interpolation, arXiv:2306.15595).
 */
export type RopeScaling = { readonly type: 'none' } | { readonly type: 'linear'; readonly factor: number };

/** Settings of rotary positions. */
export interface RopeConfig {
  /** Even. */
  readonly headDim: number;
  /** Base of the frequencies, 10000 in the paper. */
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/** Cosines and sines of consecutive positions, each `[seq, headDim / 2]`. */
export interface RopeTables {
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/** Checks rotary settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveRopeConfig(config: RopeConfig): RopeConfig {
  refuseUnknownKeys('rope', config, ['headDim', 'theta', 'scaling']);
  const { headDim, theta, scaling } = config;
  if (!Number.isInteger(headDim) || headDim < 2 || headDim % 2 !== 0) {
    throw new Error(
      `rope: headDim must be an even whole number, got ${headDim}; rotary positions turn pairs of values.`,
    );
  }
  if (!(Number.isFinite(theta) && theta > 0)) throw new Error(`rope: theta must be above 0, got ${theta}.`);
  if (scaling.type !== 'none' && scaling.type !== 'linear') {
    throw new Error(
      `rope: scaling.type must be 'none' or 'linear', got '${String((scaling as { type: unknown }).type)}'.`,
    );
  }
  refuseUnknownKeys('rope: scaling', scaling, scaling.type === 'linear' ? ['type', 'factor'] : ['type']);
  if (scaling.type === 'linear' && !(Number.isFinite(scaling.factor) && scaling.factor >= 1)) {
    throw new Error(
      `rope: scaling.factor must be 1 or more, got ${scaling.factor}; 4 stretches 2,048 positions to 8,192.`,
    );
  }
  return Object.freeze({ headDim, theta, scaling: Object.freeze({ ...scaling }) });
}

/**
 * Rotary tables (RoFormer, arXiv:2104.09864, section 3.4.2): angle of pair i at position p is
 * `p * theta^(-2 i / headDim)`. Computed in float64 on the host.
 *
 * @param start first position. @param count number of positions.
 * @returns tables that the caller disposes.
 */
export function ropeTables(config: RopeConfig, start: number, count: number): RopeTables {
  const half = config.headDim / 2;
  const stretch = config.scaling.type === 'linear' ? config.scaling.factor : 1;
  const cos = new Float32Array(count * half);
  const sin = new Float32Array(count * half);
  for (let p = 0; p < count; p++) {
    for (let i = 0; i < half; i++) {
      const angle = ((start + p) / stretch) * config.theta ** (-i / half);
      cos[p * half + i] = Math.cos(angle);
      sin[p * half + i] = Math.sin(angle);
    }
  }
  return { cos: tf.tensor2d(cos, [count, half]), sin: tf.tensor2d(sin, [count, half]) };
}
