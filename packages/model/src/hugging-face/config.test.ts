import type { RopeScaling } from '@therapeutic-moe/attention';
import { describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model.js';
import { configFromHuggingFace, configToHuggingFace } from '../index.js';

const domains = ['psychology', 'mental_health', 'bias_detection'];
const mixture = { ...tinyConfig().mixture!, domains };
const json = configToHuggingFace(tinyConfig(), 'float32');

const llama3 = {
  ...{ rope_type: 'llama3', factor: 8, original_max_position_embeddings: 5 },
  ...{ low_freq_factor: 1, high_freq_factor: 4 },
};
const longrope = {
  ...{ type: 'longrope', original_max_position_embeddings: 5 },
  ...{ short_factor: [1, 1, 2], long_factor: [1, 2, 3] },
};

describe('configToHuggingFace and back', () => {
  it.each([
    ['a mixture with named domains', tinyConfig({ mixture })],
    ['a dense model', tinyConfig({ mixture: undefined })],
    ['linear scaling', tinyConfig({ ropeScaling: { type: 'linear', factor: 4 }, ropeTheta: 1e6 })],
    ['dynamic scaling', tinyConfig({ ropeScaling: { type: 'dynamic', factor: 2, originalMaxPositionEmbeddings: 17 } })],
    ['YaRN', tinyConfig({ ropeScaling: { type: 'yarn', factor: 4, originalMaxPositionEmbeddings: 5 } })],
    [
      'YaRN with all its settings',
      tinyConfig({
        ropeScaling: {
          ...{ type: 'yarn', factor: 4, originalMaxPositionEmbeddings: 5, betaFast: 17, betaSlow: 2 },
          ...{ attentionFactor: 1.25, mscale: 0.5, mscaleAllDim: 0.75, truncate: false },
        },
      }),
    ],
    [
      'llama3 scaling',
      tinyConfig({
        ropeScaling: {
          ...{ type: 'llama3', factor: 8, originalMaxPositionEmbeddings: 5 },
          ...{ lowFreqFactor: 1, highFreqFactor: 4 },
        },
      }),
    ],
    [
      'longrope scaling',
      tinyConfig({
        ropeScaling: {
          ...{ type: 'longrope', factor: 3, originalMaxPositionEmbeddings: 5 },
          ...{ shortFactor: [1, 1, 2], longFactor: [1, 2, 3], attentionFactor: 1.5 },
        },
      }),
    ],
    ['a sliding window', tinyConfig({ slidingWindow: 3 })],
    ['several tokens that end a text', tinyConfig({ eosTokenId: [5, 2] })],
    ['special tokens and a tied head', tinyConfig({ bosTokenId: 3, eosTokenId: 5, tieWordEmbeddings: true })],
  ])('keeps every field: %s', (_, config) => {
    const written = JSON.parse(JSON.stringify(configToHuggingFace(config, 'float16')));
    expect(configFromHuggingFace(written)).toEqual(config);
  });

  it('writes the original length of longrope where either version of transformers looks', () => {
    const config = tinyConfig({
      ropeScaling: {
        ...{ type: 'longrope', factor: 3.4, originalMaxPositionEmbeddings: 5 },
        ...{ shortFactor: [1, 1, 2], longFactor: [1, 2, 3] },
      },
    });
    const written = configToHuggingFace(config, 'float32');
    const section = { original_max_position_embeddings: 5, factor: 3.4, long_factor: [1, 2, 3] };
    expect(written).toMatchObject({
      original_max_position_embeddings: 5,
      rope_scaling: { ...section, type: 'longrope' },
      rope_parameters: { ...section, rope_type: 'longrope' },
    });
    const { rope_scaling, ...forFive } = written;
    const { rope_parameters, ...forFour } = written;
    for (const file of [written, forFive, forFour]) expect(configFromHuggingFace(file)).toEqual(config);
    const yarn = tinyConfig({ ropeScaling: { type: 'yarn', factor: 4, originalMaxPositionEmbeddings: 5 } });
    expect(configToHuggingFace(yarn, 'float32')).not.toHaveProperty('original_max_position_embeddings');
  });

  it('names the architecture that other readers know', () => {
    expect(json).toMatchObject({ architectures: ['MixtralForCausalLM'], model_type: 'mixtral', num_local_experts: 3 });
    expect(configToHuggingFace(tinyConfig({ mixture: undefined }), 'float32')).toMatchObject({
      architectures: ['MistralForCausalLM'],
      model_type: 'mistral',
    });
  });
});

/** Qwen1.5-MoE-A2.7B without what transformers fills in, but for lengths and tokens. */
const qwenFile = {
  ...{ model_type: 'qwen2_moe', vocab_size: 151_936, hidden_size: 2048, intermediate_size: 5632, hidden_act: 'silu' },
  ...{ num_hidden_layers: 24, num_attention_heads: 16, num_key_value_heads: 16, rms_norm_eps: 1e-6 },
  ...{ max_position_embeddings: 32_768, initializer_range: 0.02, tie_word_embeddings: false, rope_theta: 1e4 },
  ...{ decoder_sparse_step: 1, num_experts: 60, num_experts_per_tok: 4, norm_topk_prob: false, mlp_only_layers: null },
  ...{ moe_intermediate_size: 1408, shared_expert_intermediate_size: 5632, qkv_bias: true, layer_types: null },
  ...{ use_sliding_window: false, sliding_window: 32_768, max_window_layers: 21 },
};

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

  it.each<[string, Record<string, unknown>, RopeScaling]>([
    [
      'takes rope_scaling where a file has both sections, as transformers 5.18 does',
      { rope_parameters: { rope_type: 'linear', factor: 2 }, rope_scaling: { type: 'linear', factor: 4 } },
      { type: 'linear', factor: 4 },
    ],
    [
      'takes max_position_embeddings for the original length of dynamic scaling',
      { rope_scaling: { type: 'dynamic', factor: 2 } },
      { type: 'dynamic', factor: 2, originalMaxPositionEmbeddings: 17 },
    ],
    [
      'takes the ratio of the lengths for a missing factor of YaRN, and no setting for a 0',
      {
        rope_parameters: {
          ...{ rope_type: 'yarn', factor: null, original_max_position_embeddings: 5, beta_fast: 0 },
          ...{ mscale: 1, mscale_all_dim: 0, truncate: false },
        },
      },
      { type: 'yarn', factor: 3.4, originalMaxPositionEmbeddings: 5, truncate: false },
    ],
    [
      'takes the original length of the file before that of the section, as Phi-3 has it',
      { original_max_position_embeddings: 10, rope_scaling: longrope },
      {
        ...{ type: 'longrope', factor: 1.7, originalMaxPositionEmbeddings: 10 },
        ...{ shortFactor: [1, 1, 2], longFactor: [1, 2, 3] },
      },
    ],
  ])('%s', (_, change, expected) => {
    expect(configFromHuggingFace({ ...json, ...change }).ropeScaling).toEqual(expected);
  });

  it('takes no window for null or one that no position leaves; only Qwen2-MoE has a switch, as in transformers', () => {
    const windowOf = (change: Record<string, unknown>) => configFromHuggingFace({ ...json, ...change }).slidingWindow;
    expect(windowOf({ sliding_window: 16 })).toBe(16);
    for (const none of [null, undefined, 17, 4096]) expect(windowOf({ sliding_window: none })).toBeUndefined();
    for (const model_type of ['mistral', 'mixtral'])
      expect(windowOf({ model_type, sliding_window: 8, use_sliding_window: false })).toBe(8);
    expect(windowOf({ sliding_window: 17, rope_scaling: { type: 'linear', factor: 2 } })).toBe(17);
  });

  it('takes the window of the first Mistral where a Mistral names none', () => {
    const mistral = {
      ...configToHuggingFace(tinyConfig({ mixture: undefined }), 'float32'),
      sliding_window: undefined,
    };
    expect(configFromHuggingFace(mistral).slidingWindow).toBeUndefined();
    expect(configFromHuggingFace({ ...mistral, max_position_embeddings: 8192 }).slidingWindow).toBe(4096);
  });

  it('takes hidden / heads where head_dim is null, and every head where key-value heads are', () => {
    const { head_dim, ...older } = json;
    const config = configFromHuggingFace({ ...older, num_key_value_heads: null, hidden_size: 8 });
    expect([config.headDim, config.numKeyValueHeads]).toEqual([2, 4]);
    expect(configFromHuggingFace({ ...older, head_dim: null, hidden_size: 11 }).headDim).toBe(2);
  });

  it('takes what transformers takes for fields that a file leaves out', () => {
    const of = (model_type: string) => configFromHuggingFace({ model_type });
    expect(of('mistral')).toMatchObject({ rmsNormEps: 1e-6, slidingWindow: 4096, numKeyValueHeads: 8, eosTokenId: 2 });
    expect(of('mixtral')).toMatchObject({ rmsNormEps: 1e-5, ropeTheta: 1e6, mixture: { numExperts: 8 } });
    expect(of('qwen2_moe')).toEqual(configFromHuggingFace(qwenFile));
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
    [
      { model_type: 'llama' },
      `model_type is "llama", expected 'mistral', 'mixtral' or 'qwen2_moe'; other families are not implemented.`,
    ],
    [{ hidden_act: 'gelu' }, `hidden_act is "gelu", expected 'silu'`],
    [{ bos_token_id: 'x' }, 'bos_token_id is "x", expected a number.'],
    [{ eos_token_id: {} }, 'eos_token_id is {}, expected a number.'],
    [{ eos_token_id: [2, 'x'] }, 'eos_token_id is [2,"x"], expected a number or a list of numbers.'],
    [{ vocab_size: '13' }, 'vocab_size is "13", expected a number.'],
    [{ rms_norm_eps: null }, 'rms_norm_eps is null, expected a number.'],
    [{ tie_word_embeddings: 1 }, 'tie_word_embeddings is 1, expected true or false.'],
    [{ attention_bias: true }, 'attention_bias is true, expected false; mixtral has no such biases in transformers.'],
    [{ qkv_bias: true }, 'qkv_bias is true, expected false; mixtral has no such biases'],
    [{ attention_dropout: 0.1 }, 'attention_dropout is 0.1, expected 0; dropout of attention weights is not'],
    [{ router_jitter_noise: 0.1 }, 'router_jitter_noise is 0.1, expected 0: noise on what both router and experts see'],
    [
      { sliding_window: 5, layer_types: ['full_attention', 'full_attention'] },
      'layer_types says full_attention, but sliding_window is 5; set sliding_window to null, or leave layer_types out.',
    ],
    [{ sliding_window: 0 }, 'sliding_window is 0, expected 1 or more, or null for none; transformers computes nothing'],
    [{ sliding_window: 'wide' }, 'sliding_window is "wide", expected a number or null.'],
    [{ sliding_window: -8 }, 'slidingWindow must be a whole number of 1 or more, got -8'],
    [
      { rope_parameters: { rope_type: 'mrope' } },
      "rope_type is \"mrope\", expected one of 'default', 'linear', 'dynamic', 'yarn', 'llama3', 'longrope'; others",
    ],
    [{ rope_parameters: { rope_type: 'toString' } }, 'rope_type is "toString", expected one of'],
    [{ rope_parameters: { rope_type: 'linear' } }, 'rope_parameters.factor is undefined, expected a number.'],
    [
      { rope_parameters: { rope_type: 'yarn', factor: 2 } },
      'rope_parameters.original_max_position_embeddings is undefined, expected a number.',
    ],
    [
      { rope_scaling: { ...llama3, low_freq_factor: null } },
      'rope_scaling.low_freq_factor is null, expected a number.',
    ],
    [
      { rope_scaling: { ...llama3, high_freq_factor: '4' } },
      'rope_scaling.high_freq_factor is "4", expected a number.',
    ],
    [
      { rope_scaling: { ...longrope, long_factor: [1, 2] } },
      'rope: scaling.longFactor must list headDim / 2 = 3 numbers, one per pair, got 2.',
    ],
    [{ rope_scaling: { ...longrope, short_factor: 1 } }, 'rope_scaling.short_factor is 1, expected a list of numbers.'],
    [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor is 0.5, expected 1; heads turn whole.'],
    [
      { rope_parameters: { full_attention: { rope_theta: 1 } } },
      'rope_parameters.full_attention is set per layer type',
    ],
    [{ num_experts_per_tok: 5 }, 'numExpertsPerTok is 5 but numExperts is 3'],
    [{ rope_parameters: 'linear' }, 'rope_parameters must be an object, got "linear".'],
    [{ rope_parameters: null, rope_scaling: [2] }, 'rope_scaling must be an object, got [2].'],
    [{ therapeutic_moe: { domains: ['one'] } }, 'names 1 domains but numExperts is 3'],
    [{ therapeutic_moe: { domains: '' } }, 'mixture.domains must be a list of names, got "".'],
    [{ therapeutic_moe: { domain: ['one'] } }, "therapeutic_moe: unknown key 'domain'"],
    [
      { model_type: 'mistral', therapeutic_moe: { domains: 'x' } },
      'therapeutic_moe.domains names experts, but the model has none; take it out.',
    ],
    [{ therapeutic_moe: 'domains' }, 'therapeutic_moe must be an object, got "domains".'],
    [
      { quantization_config: { bits: 4 } },
      'quantization_config.quant_method is absent, which is not implemented; only "compressed-tensors" or "bitsandbytes" is.',
    ],
    [{ vocab_size: 2 ** 53 }, 'vocabSize is 9007199254740992, above'],
  ])('refuses %j by file and field', (change, message) => {
    const read = () => configFromHuggingFace({ ...json, ...change }, 'some/config.json');
    expect(read).toThrow(message);
    expect(read).toThrow(/^some\/config\.json: /);
  });
});

describe('configFromHuggingFace of Qwen2-MoE', () => {
  const small = { ...qwenFile, num_hidden_layers: 4, max_position_embeddings: 64 };
  const read = (change: Record<string, unknown>) => configFromHuggingFace({ ...small, ...change }, 'some/config.json');
  const types = (...windows: number[]) =>
    [0, 1, 2, 3].map((layer) => (windows.includes(layer) ? 'sliding_attention' : 'full_attention'));

  it('has biases, experts of their own width, and a gated shared expert', () => {
    expect(read({})).toMatchObject({
      ...{ headDim: 128, intermediateSize: 5632, qkvBias: true },
      mixture: {
        ...{ numExperts: 60, numExpertsPerTok: 4, softmaxOrder: 'before-top-k', normTopkProb: false },
        ...{ moeIntermediateSize: 1408, sharedExpert: { intermediateSize: 5632, gate: true } },
      },
    });
    expect(read({ qkv_bias: false })).not.toHaveProperty('qkvBias');
    expect(read({ norm_topk_prob: true }).mixture!.normTopkProb).toBe(true);
    expect(read({ moe_intermediate_size: 5632 }).mixture).not.toHaveProperty('moeIntermediateSize');
  });

  it.each<[Record<string, unknown>, readonly number[] | undefined]>([
    [{}, undefined],
    [{ decoder_sparse_step: 2 }, [1, 3]],
    [{ mlp_only_layers: [0, 2] }, [1, 3]],
    [{ decoder_sparse_step: 2, mlp_only_layers: [3] }, [1]],
    [{ mlp_only_layers: [7] }, undefined],
  ])('puts mixtures where transformers does: %j', (change, layers) => {
    expect(read(change).mixture!.layers).toEqual(layers);
  });

  it.each([{ num_experts: 0 }, { decoder_sparse_step: 5 }, { mlp_only_layers: [0, 1, 2, 3] }])(
    'is dense where no layer is left: %j',
    (change) => expect(read(change).mixture).toBeUndefined(),
  );

  it('has a window where all layers have it, and none where none has or no position leaves it', () => {
    const on = { use_sliding_window: true, sliding_window: 8, max_window_layers: 28 };
    expect(read({ ...on, layer_types: types(0, 1, 2, 3) }).slidingWindow).toBe(8);
    expect(read({ ...on, num_hidden_layers: 1 }).slidingWindow).toBe(8);
    for (const change of [
      { ...on, layer_types: types() },
      { ...on, max_window_layers: 0 },
      { ...on, sliding_window: 64 },
      { ...on, layer_types: types(1), sliding_window: 64 },
      { ...on, use_sliding_window: false },
    ])
      expect(read(change).slidingWindow).toBeUndefined();
  });

  it.each<[Record<string, unknown>, string]>([
    [
      { use_sliding_window: true, sliding_window: 8 },
      'use_sliding_window with max_window_layers 21 gives layers 0, 2 a sliding_window of 8 and the others none; a window that differs between layers is not implemented. For texts of up to 8 tokens set max_position_embeddings to 8.',
    ],
    [
      { use_sliding_window: true, sliding_window: 8, layer_types: types(1, 2) },
      'layer_types gives layers 1, 2 a sliding_window of 8 and the others none',
    ],
    [{ layer_types: types(1) }, "expected no 'sliding_attention', since the window is switched off or absent."],
    [{ layer_types: ['chunked_attention'] }, 'layer_types is ["chunked_attention"], expected a list of'],
    [{ layer_types: ['full_attention'] }, 'layer_types is ["full_attention"], expected one type for each of 4 layers.'],
    [{ decoder_sparse_step: 0 }, 'decoder_sparse_step is 0, expected a whole number of 1 or more.'],
    [{ mlp_only_layers: '0' }, 'mlp_only_layers is "0", expected a list of layer numbers.'],
    [{ norm_topk_prob: null }, 'norm_topk_prob is null, expected true or false.'],
    [{ use_sliding_window: 'no' }, 'use_sliding_window is "no", expected true or false.'],
    [{ qkv_bias: 1 }, 'qkv_bias is 1, expected true or false.'],
    [
      { shared_expert_intermediate_size: 0 },
      'sharedExpert.intermediateSize must be a whole number of 1 or more, got 0.',
    ],
    [{ attention_bias: true }, 'attention_bias is true, expected false; qwen2_moe has no such biases in transformers.'],
  ])('refuses %j by file and field', (change, message) => {
    expect(() => read(change)).toThrow(message);
    expect(() => read(change)).toThrow(/^some\/config\.json: /);
  });
});
