import { describe, expect, it } from 'vitest';
import { presets, resolveConfig, therapeuticDomains } from './index.js';

const required = { vocabSize: 13, hiddenSize: 10, intermediateSize: 7, numHiddenLayers: 3, numAttentionHeads: 5 };
const mixture = { numExperts: 3, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;

describe('resolveConfig', () => {
  it('fills in defaults and freezes all of it', () => {
    const config = resolveConfig({ ...required, ropeScaling: { type: 'linear', factor: 2 }, mixture });
    expect(config).toMatchObject({ headDim: 2, numKeyValueHeads: 5, ropeTheta: 10_000, tieWordEmbeddings: false });
    for (const part of [config, config.mixture, config.ropeScaling]) expect(Object.isFrozen(part)).toBe(true);
  });

  it('asks for even heads only where positions are rotary', () => {
    const odd = { ...required, headDim: 3 };
    expect(resolveConfig({ ...odd, positions: { kind: 'alibi' } }).headDim).toBe(3);
    expect(() => resolveConfig({ ...odd, headDim: 2.5, positions: { kind: 'alibi' } })).toThrow(
      'model config: headDim must be a whole number of 1 or more, got 2.5.',
    );
  });

  it('takes an undefined value for an absent one', () => {
    expect(resolveConfig({ ...required, rmsNormEps: undefined }).rmsNormEps).toBe(1e-5);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ numLayers: 3 }, "model config: unknown key 'numLayers'; known are vocabSize, hiddenSize"],
    [{ vocabSize: undefined }, 'model config: vocabSize must be a whole number of 1 or more, got undefined.'],
    [{ numHiddenLayers: 0 }, 'model config: numHiddenLayers must be a whole number of 1 or more, got 0.'],
    [{ numKeyValueHeads: 2 }, 'numKeyValueHeads is 2 but numAttentionHeads is 5; it must divide it.'],
    [{ hiddenSize: 11 }, 'hiddenSize 11 does not divide by numAttentionHeads 5; set headDim.'],
    [{ headDim: 3 }, 'rope: headDim must be an even whole number, got 3'],
    [{ rmsNormEps: '1e-5' }, 'model config: rmsNormEps must be a number above 0, got 1e-5.'],
    [{ initializerRange: 0 }, 'model config: initializerRange must be a number above 0, got 0.'],
    [{ ropeTheta: -1 }, 'rope: theta must be above 0, got -1.'],
    [{ ropeScaling: { type: 'linear', factor: 0 } }, 'rope: scaling.factor must be 1 or more, got 0'],
    [
      { ropeScaling: { type: 'yarn', factor: 2 } },
      'rope: scaling.originalMaxPositionEmbeddings must be a whole number',
    ],
    [{ ropeInterleaved: 'yes' }, 'rope: interleaved must be true or false, got "yes".'],
    [{ slidingWindow: 0 }, 'model config: slidingWindow must be a whole number of 1 or more, got 0; leave it out'],
    [{ slidingWindow: 2.5 }, 'model config: slidingWindow must be a whole number of 1 or more, got 2.5'],
    [{ ropeScaling: null }, 'model config: ropeScaling must be an object, got null.'],
    [{ mixture: 'four' }, 'model config: mixture must be an object, got "four".'],
    [{ vocabSize: 2 ** 53 }, 'model config: vocabSize is 9007199254740992, above the largest exact whole number'],
    [{ headDim: 1e300 }, 'model config: headDim is 1e+300, above'],
    [{ mixture: { ...mixture, numExperts: 1e300 } }, 'model config: mixture.numExperts is 1e+300, above'],
    [{ tieWordEmbeddings: 'no' }, 'model config: tieWordEmbeddings must be true or false, got "no".'],
    [{ eosTokenId: [2, 13] }, 'model config: eosTokenId is 13, outside the vocabulary of 13.'],
    [{ eosTokenId: 13 }, 'model config: eosTokenId is 13, outside the vocabulary of 13.'],
    [{ mixture: { ...mixture, numExpertsPerTok: 5 } }, 'numExpertsPerTok is 5 but numExperts is 3'],
    [{ mixture: { ...mixture, capasity: 2 } }, "model config: mixture: unknown key 'capasity'"],
    [{ mixture: { ...mixture, capacity: 2 } }, 'model config: mixture.capacity must be an object, got 2.'],
    [{ mixture: { ...mixture, capacity: { capacityFactor: 0 } } }, 'capacity: capacityFactor must be a number above 0'],
    [
      { mixture: { ...mixture, capacity: { dropBy: 'probability' } } },
      "capacity.dropBy 'probability' lets later tokens push out earlier ones",
    ],
    [
      { mixture: { ...mixture, router: { kind: 'two-stage', numGroups: 2, topGroups: 1, topExpertsPerGroup: 1 } } },
      'numGroups is 2 but numExperts is 3',
    ],
    [
      { mixture: { ...mixture, router: { kind: 'two-stage', numGroups: 3, topGroups: 3, topExpertsPerGroup: 1 } } },
      'mixture: numExpertsPerTok is 2, but router.topGroups 3 times topExpertsPerGroup 1 is 3; they must be equal.',
    ],
    [{ mixture: { ...mixture, router: { kind: 'hierarchical', numGroups: 2 } } }, 'numGroups is 2 but numExperts is 3'],
    [
      { mixture: { ...mixture, router: { kind: 'hierarchical', numGroups: 3, topGroups: 1 } } },
      "unknown key 'topGroups'",
    ],
    [
      { mixture: { ...mixture, router: { kind: 'supervisor', numAttentionHeads: 3, gateSize: 5 } } },
      'router.numAttentionHeads is 3 but hiddenSize is 10; it must divide it.',
    ],
    [
      { mixture: { ...mixture, router: { kind: 'supervisor', numAttentionHeads: 2, gateSize: 0 } } },
      'mixture: router.gateSize must be a whole number of 1 or more, got 0.',
    ],
    [
      { mixture: { ...mixture, router: { kind: 'expert-choice' } } },
      "an earlier token's experts would depend on later ones; a causal decoder needs token choice.",
    ],
    [
      { mixture: { ...mixture, router: { kind: 'top-k' } } },
      "router.kind must be 'two-stage', 'hierarchical' or 'supervisor', got 'top-k'",
    ],
    [
      { mixture: { ...mixture, scoring: 'sigmoid', router: { kind: 'hierarchical', numGroups: 3 } } },
      "scoring belongs to top-k routers, but router.kind is 'hierarchical'; leave one of them out.",
    ],
    [
      { mixture: { ...mixture, softmaxOrder: 'after-top-k', router: { kind: 'hierarchical', numGroups: 3 } } },
      "softmaxOrder is 'after-top-k', but router.kind 'hierarchical' weighs by probabilities; use 'before-top-k'.",
    ],
    [
      { mixture: { ...mixture, groups: { numGroups: 2, topGroups: 1, score: 'max' } } },
      'numGroups is 2 but numExperts is 3',
    ],
    [
      { mixture: { ...mixture, experts: { kind: 'swiglu' } } },
      "experts.kind must be one of gelu, specialised, shared-projection, transformer, got 'swiglu'; leave experts out",
    ],
    [{ mixture: { ...mixture, experts: { kind: 'gelu', dropout: 0.1 } } }, "mixture.experts: unknown key 'dropout'"],
    [
      { mixture: { ...mixture, experts: { kind: 'specialised', dropout: 1 } } },
      'experts.dropout must be 0 or more and below 1, got 1.',
    ],
    [
      { mixture: { ...mixture, experts: { kind: 'transformer', numAttentionHeads: 5 } } },
      'experts.numAttentionHeads is 5 but intermediateSize is',
    ],
    [
      { mixture: { ...mixture, sharedExpert: { intermediateSize: 2.5, gate: true } } },
      'sharedExpert.intermediateSize must be a whole number of 1 or more, got 2.5.',
    ],
    [
      { mixture: { ...mixture, sharedExpert: { intermediateSize: 2, gate: 1 } } },
      'sharedExpert.gate must be true or false, got 1.',
    ],
    [
      { mixture: { ...mixture, domains: ['a', 'b'] } },
      'names 2 domains but numExperts is 3; name each expert or none.',
    ],
    [{ mixture: { ...mixture, domains: ['a', 'b', 'a'] } }, "mixture.domains names 'a' twice"],
    [{ mixture: { ...mixture, domains: 'abc' } }, 'mixture.domains must be a list of names, got "abc".'],
  ])('refuses %j', (change, message) => {
    expect(() => resolveConfig({ ...required, ...change })).toThrow(message);
  });
});

describe('presets.therapeutic', () => {
  it('routes to the top 2 of 4 named domain experts, and takes overrides', () => {
    const config = presets.therapeutic();
    expect(config.mixture).toMatchObject({ numExperts: 4, numExpertsPerTok: 2, domains: therapeuticDomains });
    expect(presets.therapeutic({ vocabSize: 300 }).vocabSize).toBe(300);
    expect(() => presets.therapeutic({ numKeyValueHeads: 3 })).toThrow('numKeyValueHeads is 3');
  });
});
