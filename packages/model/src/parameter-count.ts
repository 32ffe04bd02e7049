import { countLoraParameters, type LoraConfig } from '@therapeutic-moe/lora';
import type { ModelConfig } from './model-config.js';
import { attentionLinears, layerShapes, outerShapes, type ParameterShape } from './parameter-shapes.js';

/**
 * Exact numbers of parameters, from the config alone. An adapter's factors are counted in `trainable` only: merged, they
 * add nothing to the model.
 */
export interface ParameterCount {
  /** Of the model itself. */
  readonly total: number;
  /** All of them, or with an adapter only its factors. */
  readonly trainable: number;
  /** Those of `total` that one token's forward pass uses: k of the experts and everything else. */
  readonly activePerToken: number;
}

/**
 * Counts parameters without building anything.
 *
 * @param lora the adapter to count with, if any.
 * @throws when the adapter's settings are impossible or it targets a linear that the model does not have.
 */
export function countParameters(config: ModelConfig, lora?: Partial<LoraConfig>): ParameterCount {
  const [outer, layer] = [outerShapes(config), layerShapes(config)].map((shapes) => sumSizes(shapes, config));
  const total = outer!.total + config.numHiddenLayers * layer!.total;
  const activePerToken = outer!.total + config.numHiddenLayers * layer!.active;
  const adapter = lora ? countLoraParameters('countParameters', linearSizes(config), lora) : 0;
  return { total, trainable: lora ? adapter : total, activePerToken };
}

/** Of `active`, a stack of experts counts as the k that a token visits. */
function sumSizes(
  shapes: readonly (readonly [string, ParameterShape])[],
  { mixture }: ModelConfig,
): { total: number; active: number } {
  let [total, active] = [0, 0];
  for (const [, { shape, stacked }] of shapes) {
    const size = shape.reduce((product, axis) => product * axis, 1);
    total += size;
    active += stacked ? (size / mixture!.numExperts) * mixture!.numExpertsPerTok : size;
  }
  return { total, active };
}

/** `[inputSize, outputSize]` of what a model of this config has as `linears()`, by path. */
function linearSizes(config: ModelConfig): Map<string, readonly [number, number]> {
  const sizes = Object.entries(attentionLinears(config));
  return new Map(
    Array.from({ length: config.numHiddenLayers }, (_, i) =>
      sizes.map(([name, size]) => [`model.layers.${i}.self_attn.${name}`, size] as const),
    ).flat(),
  );
}
