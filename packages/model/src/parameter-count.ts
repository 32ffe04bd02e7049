import type { KvDtype } from '@therapeutic-moe/attention';
import { type LoraConfig, resolveLoraConfig } from '@therapeutic-moe/lora';
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
export function countParameters(config: ModelConfig, lora?: Pick<LoraConfig, 'r' | 'targetModules'>): ParameterCount {
  const [outer, layer] = [outerShapes(config), layerShapes(config)].map((shapes) => sumSizes(shapes, config));
  const total = outer!.total + config.numHiddenLayers * layer!.total;
  const activePerToken = outer!.total + config.numHiddenLayers * layer!.active;
  const adapter = lora ? config.numHiddenLayers * adapterSize(attentionLinears(config), resolveLoraConfig(lora)) : 0;
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

/** Keys and values that one token leaves in the cache, in numbers. */
export function kvValuesPerToken({ numHiddenLayers, numKeyValueHeads, headDim }: ModelConfig): number {
  return 2 * numHiddenLayers * numKeyValueHeads * headDim;
}

/** Bytes that one token's keys and values take in a session, by how it keeps them. */
export function kvBytesPerToken(config: ModelConfig, dtype: KvDtype): number {
  const scales = 2 * config.numHiddenLayers * config.numKeyValueHeads; // a float for each token and head
  return dtype === 'int8' ? kvValuesPerToken(config) + 4 * scales : 4 * kvValuesPerToken(config);
}

function adapterSize(linears: Record<string, readonly [number, number]>, { r, targetModules }: LoraConfig): number {
  return targetModules.reduce((sum, target) => {
    const sizes = linears[target];
    if (!sizes)
      throw new Error(`countParameters: lora target '${target}' is not one of ${Object.keys(linears).join(', ')}.`);
    return sum + r * (sizes[0] + sizes[1]);
  }, 0);
}
