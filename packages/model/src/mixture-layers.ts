import type { ModelConfig } from './model-config.js';

type MixtureLayout = Pick<ModelConfig, 'numHiddenLayers' | 'mixture'>;

/** Whether a layer's feed-forward is a mixture; it is dense otherwise. */
export function isMixtureLayer({ mixture }: MixtureLayout, layer: number): boolean {
  return mixture !== undefined && (mixture.layers?.includes(layer) ?? true);
}

/** The layers that hold a mixture, ascending: whatever a model gives for each mixture is in this order. */
export function mixtureLayers({ mixture, numHiddenLayers }: MixtureLayout): readonly number[] {
  if (!mixture) return [];
  return mixture.layers ?? Array.from({ length: numHiddenLayers }, (_, layer) => layer);
}

/** How many layers hold a mixture. */
export function countMixtureLayers({ mixture, numHiddenLayers }: MixtureLayout): number {
  return mixture ? (mixture.layers?.length ?? numHiddenLayers) : 0;
}

/** The layer of each router: of the mixtures, then of attention's domains, as metrics and gates are listed. */
export function routedLayers(config: ModelConfig): readonly number[] {
  const all = Array.from({ length: config.numHiddenLayers }, (_, layer) => layer);
  return [...mixtureLayers(config), ...(config.attention?.kind === 'domain' ? all : [])];
}

/** Inner width of each expert. */
export function expertSize({ mixture, intermediateSize }: Pick<ModelConfig, 'mixture' | 'intermediateSize'>): number {
  return mixture?.moeIntermediateSize ?? intermediateSize;
}
