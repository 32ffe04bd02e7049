import type { MixtureConfig } from '../mixture-config.js';
import { type ModelConfig, resolveConfig } from '../model-config.js';

/** The mixture that a dense model becomes; its router is top-k and its weights sum to 1. */
export type UpcycledMixture = Pick<
  MixtureConfig,
  'numExperts' | 'numExpertsPerTok' | 'layers' | 'moeIntermediateSize' | 'domains'
>;

/**
 * The config of a dense model whose feed-forward layers, or some of them, have become mixtures.
 *
 * @param mixture its `moeIntermediateSize`, below the dense width, makes experts of that many of the dense neurons.
 * @throws when the base has experts, or the mixture does not fit it.
 */
export function upcycledConfig(base: ModelConfig, mixture: UpcycledMixture): ModelConfig {
  const { intermediateSize: inner } = base;
  if (base.mixture)
    throw new Error(
      `upcycle: the base has ${base.mixture.numExperts} experts already; upcycling starts from a dense model.`,
    );
  const { layers, moeIntermediateSize: size = inner, ...choice } = mixture;
  if (!(Number.isInteger(size) && size >= 1 && size <= inner)) {
    throw new Error(
      `upcycle: moeIntermediateSize must be a whole number from 1 to ${inner}, the neurons of the dense feed-forward, got ${size}.`,
    );
  }
  const everywhere = layers === undefined || isEveryLayer(layers, base.numHiddenLayers);
  const narrow = size < inner && (everywhere ? { intermediateSize: size } : { moeIntermediateSize: size });
  return resolveConfig({
    ...base,
    ...(everywhere && narrow),
    mixture: {
      ...choice,
      softmaxOrder: 'before-top-k',
      normTopkProb: true,
      ...(!everywhere && { layers, ...narrow }),
    },
  });
}

/** Then the config names no layers, so that it is a plain Mixtral. */
function isEveryLayer(layers: readonly number[], count: number): boolean {
  return layers.length === count && layers.every((layer, i) => layer === i);
}
