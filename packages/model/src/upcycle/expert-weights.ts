import * as tf from '@tensorflow/tfjs-core';
import { type Noise, noiseAdder } from '@therapeutic-moe/experts';
import { seedFor } from '@therapeutic-moe/nn';
import type { ExpertNeurons } from './neurons.js';

/** The two matrices of an expert or of a dense feed-forward, row by row. */
export interface FeedForwardWeights {
  /** `[hidden, 2 * inner]`, gate first. */
  readonly gateUp: Float32Array;
  /** `[inner, hidden]` */
  readonly down: Float32Array;
}

/** The neurons of a dense feed-forward that an expert takes, `down` scaled. */
export function takeNeurons(
  { gateUp, down }: FeedForwardWeights,
  hidden: number,
  { neurons, scale }: ExpertNeurons,
): FeedForwardWeights {
  const [inner, size] = [down.length / hidden, neurons.length];
  const taken = { gateUp: new Float32Array(hidden * 2 * size), down: new Float32Array(size * hidden) };
  for (const [i, neuron] of neurons.entries()) {
    for (let row = 0; row < hidden; row++) {
      taken.gateUp[row * 2 * size + i] = gateUp[row * 2 * inner + neuron]!;
      taken.gateUp[row * 2 * size + size + i] = gateUp[row * 2 * inner + inner + neuron]!;
      taken.down[i * hidden + row] = down[neuron * hidden + row]! * scale;
    }
  }
  return taken;
}

/** Weights moved by noise, each matrix by a draw of its own. */
export async function withNoise(weights: FeedForwardWeights, { deviation, seed }: Noise): Promise<FeedForwardWeights> {
  const move = async (name: keyof FeedForwardWeights) => {
    const moved = tf.tidy(() => noiseAdder({ deviation, seed: seedFor(seed, name) })(tf.tensor1d(weights[name])));
    const values = (await moved.data()) as Float32Array;
    moved.dispose();
    return values;
  };
  return { gateUp: await move('gateUp'), down: await move('down') };
}
