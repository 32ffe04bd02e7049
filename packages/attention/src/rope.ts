import * as tf from '@tensorflow/tfjs-core';
import type { RopeTables, RotaryLayout } from '@therapeutic-moe/kernels';
import type { RopeConfig } from './rope-config.js';
import { ropeFrequencies } from './rope-frequencies.js';

/**
 * Rotary tables (RoFormer, arXiv:2104.09864, section 3.4.2) of consecutive positions: the angle of pair i at position p
 * is `p` times its frequency (`ropeFrequencies`). Computed in float64 on the host.
 *
 * @param start first position. @param count number of positions.
 * @param length of the whole sequence, which `dynamic` and `longrope` scaling depend on. Absent: these positions end it.
 * @returns `[count, headDim / 2]`, which the caller disposes.
 */
export function ropeTables(config: RopeConfig, start: number, count: number, length = start + count): RopeTables {
  const [cos, sin] = wavesOf(config, [{ start, length }], count);
  const shape: [number, number] = [count, config.headDim / 2];
  return { cos: tf.tensor2d(cos, shape), sin: tf.tensor2d(sin, shape), layout: layoutOf(config) };
}

/** Where a row of a batch starts, and how long its sequence is: a row of other length may have other angles. */
export interface RopeRow {
  readonly start: number;
  /** Absent: the pass ends it, which is too long for a row with padding. */
  readonly length?: number;
}

/**
 * `ropeTables` of a batch whose rows stand at positions of their own.
 *
 * @param count number of positions of each row.
 * @returns `[batch, count, headDim / 2]`, which the caller disposes.
 */
export function ropeTablesOfRows(config: RopeConfig, rows: readonly RopeRow[], count: number): RopeTables {
  const [cos, sin] = wavesOf(config, rows, count);
  const shape: [number, number, number] = [rows.length, count, config.headDim / 2];
  return { cos: tf.tensor3d(cos, shape), sin: tf.tensor3d(sin, shape), layout: layoutOf(config) };
}

/** Cosines and sines, each `[rows, count, headDim / 2]`. */
function wavesOf(config: RopeConfig, rows: readonly RopeRow[], count: number): [Float32Array, Float32Array] {
  const angles = rows.map(({ start, length = start + count }) => ({ start, ...ropeFrequencies(config, length) }));
  const half = config.headDim / 2;
  const [cos, sin] = [new Float32Array(rows.length * count * half), new Float32Array(rows.length * count * half)];
  let at = 0;
  for (const { start, frequencies, attentionFactor } of angles) {
    for (let position = start; position < start + count; position++) {
      for (const frequency of frequencies) {
        cos[at] = attentionFactor * Math.cos(position * frequency);
        sin[at++] = attentionFactor * Math.sin(position * frequency);
      }
    }
  }
  return [cos, sin];
}

function layoutOf({ interleaved }: RopeConfig): RotaryLayout {
  return interleaved ? 'interleaved' : 'half-split';
}
