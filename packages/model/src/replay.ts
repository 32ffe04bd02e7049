import type { RoutingReplay } from '@therapeutic-moe/router';
import { mixtureLayers } from './mixture-layers.js';
import type { ModelConfig } from './model-config.js';

/** @throws when the choices are not those of this model's mixtures, naming the layer. */
export function checkReplay(replay: RoutingReplay, config: ModelConfig): void {
  const { mixture } = config;
  const layers = mixtureLayers(config);
  for (const [at, { numExperts, numExpertsPerTok }] of replay.entries()) {
    if (numExperts !== mixture?.numExperts || numExpertsPerTok !== mixture.numExpertsPerTok) {
      throw new Error(
        `model.forward: replay of layer ${layers[at] ?? at} chose ${numExpertsPerTok} of ${numExperts} experts, this model ${mixture?.numExpertsPerTok ?? 0} of ${mixture?.numExperts ?? 0}; record it with this model.`,
      );
    }
  }
  if (replay.length !== layers.length) {
    throw new Error(
      `model.forward: replay must have the choices of ${layers.length} layers, got ${replay.length}; record them with this model.`,
    );
  }
}

/** Recorded choices under the numbers of their layers; none where a layer is dense. */
export function underLayers(replay: RoutingReplay, config: ModelConfig): RoutingReplay {
  const recorded: RoutingReplay[number][] = [];
  for (const [i, layer] of mixtureLayers(config).entries()) recorded[layer] = replay[i]!;
  return recorded;
}
