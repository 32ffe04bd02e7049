import type { PartialMixtureConfig } from '../src/index.js';

const base = { numExperts: 6, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;

/** One mixture of every kind, for a model of hidden size 10 and intermediate size 14. */
export const mixtures: Record<string, PartialMixtureConfig> = {
  'top-k of SwiGLU experts': base,
  'sigmoid scores, groups, bias and noise': {
    ...base,
    normTopkProb: false,
    scoring: 'sigmoid',
    routedScalingFactor: 2.5,
    groups: { numGroups: 3, topGroups: 2, score: 'max' },
    balanceBias: true,
    routerJitterNoise: 0.01,
    gateNoise: 0.1,
  },
  'two stages, shared projections': {
    ...base,
    router: { kind: 'two-stage', numGroups: 3, topGroups: 2, topExpertsPerGroup: 1 },
    experts: { kind: 'shared-projection' },
  },
  'hierarchy, specialised experts, capacity': {
    ...base,
    router: { kind: 'hierarchical', numGroups: 2 },
    experts: { kind: 'specialised', dropout: 0.1 },
    capacity: { capacityFactor: 1, evalCapacityFactor: 6 },
  },
  'supervisor, transformer experts': {
    ...base,
    router: { kind: 'supervisor', numAttentionHeads: 5, gateSize: 11 },
    experts: { kind: 'transformer', numAttentionHeads: 7 },
  },
  'GELU experts and a gated shared expert': {
    ...base,
    experts: { kind: 'gelu' },
    sharedExpert: { intermediateSize: 3, gate: true },
  },
};
