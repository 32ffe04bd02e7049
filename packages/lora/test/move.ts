import * as tf from '@tensorflow/tfjs-core';
import type { LoraAdapter } from '../src/index.js';

/** Stands for training: every factor of an adapter moves, the same way for the same seed. */
export function move(adapter: LoraAdapter, seed: number): LoraAdapter {
  for (const [i, factor] of [...adapter.parameters().values()].entries()) {
    tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.3, 'float32', 31 * seed + i))));
  }
  return adapter;
}
