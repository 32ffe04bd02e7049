import type { RopeScaling } from '@therapeutic-moe/attention';
import { describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model.js';
import type { ConfigOverrides } from '../index.js';
import { configFromOwn, configToOwn } from '../own-layout/config.js';
import { configFromHuggingFace } from './config.js';
import { formToHuggingFace } from './config-to-hugging-face.js';
import { huggingFaceForm, requireHuggingFaceForm } from './family.js';

const yarn: RopeScaling = { type: 'yarn', factor: 2, originalMaxPositionEmbeddings: 8 };
const dynamic: RopeScaling = { type: 'dynamic', factor: 2, originalMaxPositionEmbeddings: 17 };
const mixture = tinyConfig().mixture!;
const sharedExpert = { intermediateSize: 11, gate: true };
const capacity = { capacityFactor: 1.25, evalCapacityFactor: 1.5 };

const zeros = 'a shared expert of width 1 is added';

describe('huggingFaceForm', () => {
  it.each<[string, ConfigOverrides, string, string[]]>([
    ['no mixture', { mixture: undefined }, 'mistral', []],
    ['a mixture in every layer', {}, 'mixtral', []],
    ['a mixture in every layer by number', { mixture: { ...mixture, layers: [0, 1] } }, 'mixtral', []],
    ['half-split pairs, YaRN and a window', { ropeScaling: yarn, slidingWindow: 5 }, 'mixtral', []],
    ['dynamic scaling from the trained length', { ropeScaling: dynamic }, 'mixtral', []],
    ['softmax after top-k', { mixture: { ...mixture, softmaxOrder: 'after-top-k' } }, 'mixtral', []],
    ['experts of a width of their own', { mixture: { ...mixture, moeIntermediateSize: 3 } }, 'mixtral', []],
    ['a gated shared expert', { mixture: { ...mixture, sharedExpert } }, 'qwen2_moe', []],
    ['a dense layer', { mixture: { ...mixture, layers: [1] } }, 'qwen2_moe', [zeros]],
    ['a dense layer beside a shared expert', { mixture: { ...mixture, layers: [0], sharedExpert } }, 'qwen2_moe', []],
    ['biases of q, k and v', { qkvBias: true }, 'qwen2_moe', [zeros]],
    ['weights that are not renormalised', { mixture: { ...mixture, normTopkProb: false } }, 'qwen2_moe', [zeros]],
    [
      'one expert per token that is not renormalised, which Mixtral would give weight 1',
      { mixture: { ...mixture, numExpertsPerTok: 1, normTopkProb: false } },
      'qwen2_moe',
      [zeros],
    ],
    [
      'noise and places of training',
      { mixture: { ...mixture, routerJitterNoise: 0.1, gateNoise: 0.2, capacity } },
      'mixtral',
      ['mixture.routerJitterNoise is left out', 'mixture.gateNoise is left out', 'mixture.capacity is left out'],
    ],
  ])('%s, which is read as it was meant', (_, overrides, family, changes) => {
    const config = tinyConfig(overrides);
    const form = requireHuggingFaceForm(config);
    expect([form.family, form.changes.map((change) => change.split(',')[0])]).toEqual([family, changes]);
    const written = JSON.parse(JSON.stringify(formToHuggingFace(form, 'float32')));
    expect(configFromHuggingFace(written)).toEqual(form.config);
    const { softmaxOrder } = config.mixture ?? {};
    const respelt = softmaxOrder === 'after-top-k' || config.mixture?.moeIntermediateSize || config.mixture?.layers;
    if (changes.length === 0 && (family === 'qwen2_moe' || !respelt)) expect(form.config).toEqual(config);
  });

  it.each<[ConfigOverrides, string]>([
    [{ attention: { kind: 'multi-level', window: 5 } }, "attention.kind 'multi-level'"],
    [{ positions: { kind: 'alibi' } }, "positions.kind 'alibi'"],
    [{ ropeInterleaved: true }, 'ropeInterleaved'],
    [{ ropeScaling: { type: 'ntk', factor: 2 } }, "ropeScaling.type 'ntk'"],
    [
      { ropeScaling: dynamic, maxPositionEmbeddings: 23 },
      "ropeScaling.type 'dynamic' with originalMaxPositionEmbeddings 17 beside maxPositionEmbeddings 23",
    ],
    [{ mixture: undefined, qkvBias: true }, 'qkvBias without a mixture'],
    [{ mixture: { ...mixture, scoring: 'sigmoid' } }, "mixture.scoring 'sigmoid'"],
    [{ mixture: { ...mixture, routedScalingFactor: 2.5 } }, 'mixture.routedScalingFactor 2.5'],
    [{ mixture: { ...mixture, balanceBias: true } }, 'mixture.balanceBias'],
    [{ mixture: { ...mixture, router: { kind: 'hierarchical', numGroups: 3 } } }, "mixture.router 'hierarchical'"],
    [{ mixture: { ...mixture, experts: { kind: 'gelu' } } }, "mixture.experts 'gelu'"],
    [
      { mixture: { ...mixture, sharedExpert: { intermediateSize: 11, gate: false } } },
      'mixture.sharedExpert without a gate',
    ],
    [
      { mixture: { ...mixture, capacity: { ...capacity, evalCapacityFactor: 1 } } },
      'mixture.capacity, whose evalCapacityFactor 1 drops choices outside of training too',
    ],
  ])('%j has none: %s', (overrides, reason) => {
    const config = tinyConfig(overrides);
    expect(huggingFaceForm(config)).toEqual({ reasons: [reason] });
    expect(configFromOwn(JSON.parse(JSON.stringify(configToOwn(config, 'float32'))), 'config.json')).toEqual(config);
  });

  it('names every reason, and the way out', () => {
    const config = tinyConfig({ ropeInterleaved: true, mixture: { ...mixture, balanceBias: true } });
    expect(() => requireHuggingFaceForm(config)).toThrow(
      "model config: ropeInterleaved, mixture.balanceBias: no counterpart in Hugging Face's Mistral, Mixtral or Qwen2-MoE; save it in our own layout (saveModelDirectory).",
    );
  });
});
