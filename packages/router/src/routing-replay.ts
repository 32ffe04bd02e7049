import * as tf from '@tensorflow/tfjs-core';
import type { Routing } from './routing.js';

/** The choices of one layer in one pass. */
export interface LayerChoices {
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  /** Chosen experts `[tokens, k]`, row by row. */
  readonly indices: Int32Array;
}

/** The choices of all layers of one pass, as plain numbers that can be stored. */
export type RoutingReplay = readonly LayerChoices[];

/** Reads the choices of a pass, to repeat them in another (routing replay). @param routings one per layer. */
export async function recordRouting(routings: readonly Routing[]): Promise<RoutingReplay> {
  return Promise.all(
    routings.map(async ({ indices, probabilities }) => ({
      numExperts: probabilities.shape[1],
      numExpertsPerTok: indices.shape[1],
      indices: Int32Array.from(await indices.data()),
    })),
  );
}

/**
 * The recorded choices of one layer as a tensor for `RoutePass.replay`.
 *
 * @returns int32 `[tokens, k]`. Caller disposes.
 * @throws when there is no such layer, or its choices are not whole tokens, name no expert or name one twice.
 */
export function replayTensor(replay: RoutingReplay, layer: number): tf.Tensor2D {
  const choices = replay[layer];
  if (!choices) throw new Error(`replayTensor: layer ${layer} was not recorded; there are ${replay.length} layers.`);
  checkChoices(choices, layer);
  const { indices, numExpertsPerTok: k } = choices;
  return tf.tensor2d(indices, [indices.length / k, k], 'int32');
}

function checkChoices({ indices, numExperts, numExpertsPerTok: k }: LayerChoices, layer: number): void {
  if (indices.length === 0 || indices.length % k !== 0) {
    throw new Error(`replayTensor: layer ${layer} has ${indices.length} indices, not a multiple of ${k} per token.`);
  }
  for (let i = 0; i < indices.length; i++) {
    const token = Math.floor(i / k);
    if (!(indices[i]! >= 0 && indices[i]! < numExperts)) {
      throw new Error(
        `replayTensor: layer ${layer} sends token ${token} to expert ${indices[i]}, but experts are 0 to ${numExperts - 1}.`,
      );
    }
    if (indices.subarray(token * k, i).includes(indices[i]!)) {
      throw new Error(`replayTensor: layer ${layer} sends token ${token} to expert ${indices[i]} twice.`);
    }
  }
}
