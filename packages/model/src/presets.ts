import { type ConfigOverrides, type ModelConfig, resolveConfig } from './model-config.js';

/** The four domains of the therapeutic design; expert i stands for domain i. */
export const therapeuticDomains = ['psychology', 'mental_health', 'bias_detection', 'general_therapeutic'] as const;

/** What the presets share besides their design. */
const common = {
  vocabSize: 4096,
  hiddenSize: 256,
  maxPositionEmbeddings: 512,
  tieWordEmbeddings: true,
  bosTokenId: 0,
  eosTokenId: 0,
} as const;

/** One function per design: overrides in, a checked config out. */
export const presets = {
  /**
   * A decoder whose feed-forward layers route each token to the top 2 of 4 domain experts. The defaults are the size of
   * the embedded demonstration model (7.2 million parameters).
   */
  therapeutic(overrides: ConfigOverrides = {}): ModelConfig {
    return resolveConfig({
      ...common,
      intermediateSize: 432,
      numHiddenLayers: 4,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 64,
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

  /**
   * A two-level mixture: p(group) p(expert | group) over 2 groups of 4, the top 2 of 8 specialised experts, whose places
   * are limited while training; experts that are hardly used can be pruned (`pruneModel`). Attention mixes low-rank
   * projections of 4 domains, and positions are a learned mix of waves and a table. d256 l2 e8 h8 k2.
   */
  hierarchical(overrides: ConfigOverrides = {}): ModelConfig {
    return resolveConfig({
      ...common,
      intermediateSize: 432,
      numHiddenLayers: 2,
      numAttentionHeads: 8,
      numKeyValueHeads: 8,
      headDim: 32,
      attention: { kind: 'domain', numDomains: 4, terms: 'projections', rank: 8 },
      positions: { kind: 'hybrid' },
      mixture: {
        numExperts: 8,
        numExpertsPerTok: 2,
        softmaxOrder: 'before-top-k',
        normTopkProb: true,
        router: { kind: 'hierarchical', numGroups: 2 },
        experts: { kind: 'specialised', dropout: 0.1 },
        capacity: { capacityFactor: 1.25, evalCapacityFactor: 4 }, // 4 times an even share is every token: none dropped
      },
      ...overrides,
    });
  },

  /**
   * A supervisor looks along the sequence and sends each token to the top 3 of 32 small transformers, each of which
   * weighs its answer by its confidence.
   */
  constellation(overrides: ConfigOverrides = {}): ModelConfig {
    return resolveConfig({
      ...common,
      intermediateSize: 64,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 64,
      mixture: {
        numExperts: 32,
        numExpertsPerTok: 3,
        softmaxOrder: 'before-top-k',
        normTopkProb: true,
        router: { kind: 'supervisor', numAttentionHeads: 4, gateSize: 128 },
        experts: { kind: 'transformer', numAttentionHeads: 4 },
      },
      ...overrides,
    });
  },

  /**
   * Attention at full, half and quarter resolution, the first in a window, mixed by learned shares. Two-stage top-k: the
   * 2 best of 4 groups, then the best expert in each; experts share their input and output projections, so that many of
   * them cost little, and each group can live on a device of its own.
   */
  'multi-level'(overrides: ConfigOverrides = {}): ModelConfig {
    return resolveConfig({
      ...common,
      intermediateSize: 256,
      numHiddenLayers: 4,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 64,
      attention: { kind: 'multi-level', window: 32 },
      mixture: {
        numExperts: 16,
        numExpertsPerTok: 2,
        softmaxOrder: 'before-top-k',
        normTopkProb: true,
        router: { kind: 'two-stage', numGroups: 4, topGroups: 2, topExpertsPerGroup: 1 },
        experts: { kind: 'shared-projection' },
      },
      ...overrides,
    });
  },

  /**
   * Mistral-Nemo (12.2 billion parameters) with mixtures of 4 domain experts, top 2, in 4 of its 40 layers: what
   * `upcycleDirectory` makes of such a checkpoint. At first equal to it.
   */
  'nemo-moe'(overrides: ConfigOverrides = {}): ModelConfig {
    return resolveConfig({
      vocabSize: 131_072,
      hiddenSize: 5120,
      intermediateSize: 14_336,
      numHiddenLayers: 40,
      numAttentionHeads: 32,
      numKeyValueHeads: 8,
      headDim: 128,
      maxPositionEmbeddings: 131_072,
      ropeTheta: 1e6,
      bosTokenId: 1,
      eosTokenId: 2,
      mixture: {
        numExperts: 4,
        numExpertsPerTok: 2,
        softmaxOrder: 'before-top-k',
        normTopkProb: true,
        domains: therapeuticDomains,
        layers: [10, 20, 30, 39],
      },
      ...overrides,
    });
  },
};

/** Name of a preset. */
export type PresetName = keyof typeof presets;

/**
 * What of a design its preset does not have yet, in a sentence to print; absent: nothing. The one place that says so;
 * training and the examples print it.
 */
export const presetGaps: Readonly<Partial<Record<PresetName, string>>> = Object.freeze({
  constellation:
    "preset 'constellation': the librarian and the knowledge graph are not there yet; it runs without memory, on plain attention.",
});
