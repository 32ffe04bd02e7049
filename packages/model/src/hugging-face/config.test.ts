import { describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model.js';
import { configFromHuggingFace, configToHuggingFace } from '../index.js';

const domains = ['psychology', 'mental_health', 'bias_detection'];
const mixture = { ...tinyConfig().mixture!, domains };
const json = configToHuggingFace(tinyConfig(), 'float32');

describe('configToHuggingFace and back', () => {
  it.each([
    ['a mixture with named domains', tinyConfig({ mixture })],
    ['a dense model', tinyConfig({ mixture: undefined })],
    ['linear scaling', tinyConfig({ ropeScaling: { type: 'linear', factor: 4 }, ropeTheta: 1e6 })],
    ['special tokens and a tied head', tinyConfig({ bosTokenId: 3, eosTokenId: 5, tieWordEmbeddings: true })],
  ])('keeps every field: %s', (_, config) => {
    const written = JSON.parse(JSON.stringify(configToHuggingFace(config, 'float16')));
    expect(configFromHuggingFace(written)).toEqual(config);
  });

  it('names the architecture that other readers know', () => {
    expect(json).toMatchObject({ architectures: ['MixtralForCausalLM'], model_type: 'mixtral', num_local_experts: 3 });
    expect(configToHuggingFace(tinyConfig({ mixture: undefined }), 'float32')).toMatchObject({
      architectures: ['MistralForCausalLM'],
      model_type: 'mistral',
    });
  });
});

describe('configFromHuggingFace', () => {
  it('tolerates keys it does not know, as every release brings some', () => {
    expect(configFromHuggingFace({ ...json, brand_new: 1 })).toEqual(tinyConfig());
  });

  it('reads rotary settings as older releases wrote them', () => {
    const { rope_parameters, ...older } = json;
    expect(configFromHuggingFace({ ...older, rope_theta: 500 }).ropeTheta).toBe(500);
    expect(configFromHuggingFace({ ...older, rope_scaling: { type: 'linear', factor: 2 } }).ropeScaling).toEqual({
      type: 'linear',
      factor: 2,
    });
    expect(configFromHuggingFace({ ...older, rope_scaling: null }).ropeScaling).toEqual({ type: 'none' });
  });

  it('takes hidden / heads where head_dim is null, and every head where key-value heads are absent', () => {
    const { num_key_value_heads, ...older } = json;
    const config = configFromHuggingFace({ ...older, head_dim: null, hidden_size: 8 });
    expect([config.headDim, config.numKeyValueHeads]).toEqual([2, 4]);
    expect(configFromHuggingFace({ ...older, num_key_value_heads: null }).numKeyValueHeads).toBe(4);
  });

  it("takes the family's base of the rotary frequencies where the file names none", () => {
    const { rope_parameters, rope_theta, ...bare } = json;
    expect(configFromHuggingFace(bare).ropeTheta).toBe(1e6);
    expect(configFromHuggingFace({ ...bare, model_type: 'mistral' }).ropeTheta).toBe(1e4);
    expect(configFromHuggingFace({ ...bare, rope_parameters: null, quantization_config: null }).ropeTheta).toBe(1e6);
  });

  it.each([null, [], 'text', 3])('refuses %j, which is no config at all', (content) => {
    expect(() => configFromHuggingFace(content, 'some/config.json')).toThrow(
      `some/config.json: the content must be an object, got ${JSON.stringify(content)}.`,
    );
  });

  it.each<[Record<string, unknown>, string]>([
    [{ model_type: 'llama' }, `model_type is "llama", expected 'mistral' or 'mixtral'`],
    [{ hidden_act: 'gelu' }, `hidden_act is "gelu", expected 'silu'`],
    [{ vocab_size: '13' }, 'vocab_size is "13", expected a number.'],
    [{ rms_norm_eps: undefined }, 'rms_norm_eps is undefined, expected a number.'],
    [{ sliding_window: 8 }, 'sliding_window is 8, expected null'],
    [{ rope_parameters: { rope_type: 'yarn', factor: 2 } }, `rope_type is "yarn", expected 'default' or 'linear'`],
    [{ rope_parameters: { rope_type: 'linear' } }, 'rope factor is undefined, expected a number.'],
    [
      { rope_parameters: { full_attention: { rope_theta: 1 } } },
      'rope_parameters.full_attention is set per layer type',
    ],
    [{ num_experts_per_tok: 5 }, 'numExpertsPerTok is 5 but numExperts is 3'],
    [{ rope_parameters: 'linear' }, 'rope_parameters must be an object, got "linear".'],
    [{ rope_parameters: null, rope_scaling: [2] }, 'rope_scaling must be an object, got [2].'],
    [{ therapeutic_moe: { domains: ['one'] } }, 'names 1 domains but numExperts is 3'],
    [{ therapeutic_moe: { domains: '' } }, 'mixture.domains must be a list of names, got "".'],
    [{ therapeutic_moe: 'domains' }, 'therapeutic_moe must be an object, got "domains".'],
    [{ quantization_config: { bits: 4 } }, 'quantization_config is present; quantised weights are not implemented.'],
    [{ vocab_size: 2 ** 53 }, 'vocabSize is 9007199254740992, above'],
  ])('refuses %j by file and field', (change, message) => {
    const read = () => configFromHuggingFace({ ...json, ...change }, 'some/config.json');
    expect(read).toThrow(message);
    expect(read).toThrow(/^some\/config\.json: /);
  });
});
