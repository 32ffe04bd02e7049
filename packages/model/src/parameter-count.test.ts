import * as tf from '@tensorflow/tfjs-core';
import '@therapeutic-moe/test-kit';
import { attachLora } from '@therapeutic-moe/lora';
import { describe, expect, it } from 'vitest';
import { nemoConfig } from '../test/nemo-config.js';
import { tinyConfig } from '../test/tiny-model.js';
import { CausalLm, countParameters, kvValuesPerToken, type ModelConfig, presets } from './index.js';

const sizeOf = (variables: ReadonlyMap<string, tf.Variable>) =>
  [...variables.values()].reduce((sum, { size }) => sum + size, 0);

const { mixture } = tinyConfig();
const sharedExpert = { mixture: { ...mixture!, layers: [1], sharedExpert: { intermediateSize: 3, gate: true } } };

describe('countParameters', () => {
  it.each<[string, Partial<ModelConfig>]>([
    ['a mixture', {}],
    ['tied embeddings', { tieWordEmbeddings: true }],
    ['a dense model', { mixture: undefined }],
    ['a shared expert with a gate, in some layers', sharedExpert],
    ['heads that do not make up the hidden size', { headDim: 2, numAttentionHeads: 6, numKeyValueHeads: 3 }],
  ])('equals the sizes of the variables: %s', (_, overrides) => {
    const model = CausalLm.create(tinyConfig(overrides), 1);
    expect(countParameters(model.config).total).toBe(sizeOf(model.parameters()));
    const lora = { r: 3, targetModules: ['q_proj', 'v_proj'], rankPattern: { '0.self_attn.q_proj': 5 }, useDora: true };
    const adapter = attachLora(model, lora, 1);
    const counted = countParameters(model.config, lora);
    expect(counted.trainable).toBe(sizeOf(adapter.parameters()));
    expect(counted.total + counted.trainable).toBe(sizeOf(model.parameters()));
    const everywhere = {
      r: 2,
      targetModules: 'all-linear',
      targetParameters: model.config.mixture ? ['experts.gate_up_proj', 'experts.down_proj'] : [],
    };
    const whole = attachLora(model, everywhere, 1, 'everywhere');
    expect(whole.layers.has('lm_head')).toBe(false);
    expect(countParameters(model.config, everywhere).trainable).toBe(sizeOf(whole.parameters()));
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });

  it('counts k of the experts as active', () => {
    const config = tinyConfig();
    const idleExperts = 1 * 3 * config.hiddenSize * config.intermediateSize;
    const { total, trainable, activePerToken } = countParameters(config);
    expect(trainable).toBe(total);
    expect(activePerToken).toBe(total - config.numHiddenLayers * idleExperts);
  });

  it('counts an adapter as trainable only, neither in the total nor as active', () => {
    const { total, activePerToken } = countParameters(tinyConfig());
    expect(countParameters(tinyConfig(), { r: 3, targetModules: ['q_proj'] })).toMatchObject({ total, activePerToken });
  });

  it('gives the embedded model 7,149,824', () => {
    expect(countParameters(presets.therapeutic()).total).toBe(7_149_824);
  });

  it('gives Mistral-Nemo 12,247,782,400, its rank-16 adapter 19,660,800, and 163,840 bytes of cache per token', () => {
    const lora = { r: 16, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] };
    expect(countParameters(nemoConfig)).toEqual({
      total: 12_247_782_400,
      trainable: 12_247_782_400,
      activePerToken: 12_247_782_400,
    });
    expect(countParameters(nemoConfig, lora).trainable).toBe(19_660_800);
    expect(countParameters(nemoConfig, { r: 16, targetModules: 'all-linear' }).trainable).toBe(57_016_320);
    expect(2 * kvValuesPerToken(nemoConfig)).toBe(163_840);
  });

  it('refuses an adapter that cannot be', () => {
    expect(() => countParameters(tinyConfig(), { r: 2, targetModules: ['gate'] })).toThrow(
      "targetModules names 'gate', but the model has q_proj, k_proj, v_proj, o_proj",
    );
    expect(() => countParameters(tinyConfig(), { r: 0, targetModules: ['q_proj'] })).toThrow('lora: r must be');
  });
});
