import { type ModelConfig, resolveConfig } from './model-config.js';

/** The four domains of the therapeutic design; expert i stands for domain i. */
export const therapeuticDomains = ['psychology', 'mental_health', 'bias_detection', 'general_therapeutic'] as const;

/** One function per design: overrides in, a checked config out. */
export const presets = {
  /**
   * A decoder whose feed-forward layers route each token to the top 2 of 4 domain experts. The defaults are the size of
   * the embedded demonstration model (7.2 million parameters).
   */
  therapeutic(overrides: Partial<ModelConfig> = {}): ModelConfig {
    return resolveConfig({
      vocabSize: 4096,
      hiddenSize: 256,
      intermediateSize: 432,
      numHiddenLayers: 4,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 64,
      maxPositionEmbeddings: 512,
      tieWordEmbeddings: true,
      bosTokenId: 0,
      eosTokenId: 0,
      mixture: {
        numExperts: 4,
        numExpertsPerTok: 2,
        softmaxOrder: 'before-top-k',
        normTopkProb: true,
        domains: therapeuticDomains,
      },
      ...overrides,
    });
  },
};
