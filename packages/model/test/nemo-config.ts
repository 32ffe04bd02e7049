import { resolveConfig } from '../src/index.js';

/** Mistral-Nemo's sizes, written out beside the preset so that tests do not follow it. */
export const nemoConfig = resolveConfig({
  vocabSize: 131_072,
  hiddenSize: 5120,
  intermediateSize: 14_336,
  numHiddenLayers: 40,
  numAttentionHeads: 32,
  numKeyValueHeads: 8,
  headDim: 128,
  maxPositionEmbeddings: 131_072,
  ropeTheta: 1e6,
});
