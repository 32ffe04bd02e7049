import * as tf from '@tensorflow/tfjs-core';
import { attachLora, attachLoraFromBase, type LoraConfig } from '@therapeutic-moe/lora';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { frozenModel } from '../test/frozen-model.js';
import { nemoConfig } from '../test/nemo-config.js';
import { peakBytes } from '../test/peak-bytes.js';
import {
  CausalLm,
  type ModelConfig,
  memoryPlan,
  presets,
  resolveConfig,
  trainable,
  type WeightDtype,
} from './index.js';

const lora = { r: 16, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] };
const usual = { weights: 'bfloat16', lora, batch: 1, seq: 2048, serveTokens: 8192 } as const;

describe('memoryPlan', () => {
  it('plans Mistral-Nemo in bfloat16 with an adapter of rank 16, by hand', () => {
    const norms = (2 * 40 + 1) * 5120;
    const { weights, adapter, thawed, training, serving } = memoryPlan(nemoConfig, usual);
    expect(weights).toBe(24_495_564_800 + 2 * norms); // norms take two bytes more each
    expect(adapter).toBe(4 * 19_660_800);
    expect(thawed).toBe(4 * 131_072 * 5120);
    expect(training).toMatchObject({ gradients: 4 * 19_660_800, optimizer: 8 * 19_660_800 });
    expect(training!.logits).toBe(2 * 4 * 2048 * 131_072);
    // Kept: 7 states of 5120, q and k twice, v, outputs, which are o_proj's input, gate and up.
    const kept = 7 * 5120 + 3 * (4096 + 1024) + 2 * 14_336;
    const gradients = 9 * 5120 + 3 * (4096 + 1024) + 3 * 14_336;
    // Inputs of q, k, v and o, twice what they give, and four states of rank 16 each.
    const adapters = 3 * 5120 + 4096 + 2 * (4096 + 2 * 1024 + 5120) + 4 * 4 * 16;
    expect(training!.activations).toBe(4 * 2048 * 40 * (kept + gradients + adapters));
    expect(training!.checkpointed).toBe(4 * 2048 * (40 * 5120 + kept + gradients + adapters));
    expect(serving.kv).toMatchObject({ bfloat16: 1_342_177_280, float32: 2 * 1_342_177_280 });
  });

  it('says that the 12B shape fits 80 GB with checkpointing, and does not at 2048 tokens without', () => {
    const { training, serving } = memoryPlan(nemoConfig, usual);
    expect(training!.checkpointedTotal).toBeLessThan(80e9);
    expect(training!.total).toBeGreaterThan(80e9);
    expect(memoryPlan(nemoConfig, { ...usual, seq: 512 }).training!.total).toBeLessThan(80e9);
    expect(serving.total).toBeLessThan(80e9);
  });

  it('plans a model whose mixtures stand in some layers alone', () => {
    const mixture = { numExperts: 4, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;
    const some = resolveConfig({ ...nemoConfig, mixture: { ...mixture, layers: [10, 20, 30, 39] } });
    const more = memoryPlan(some, usual).weights - memoryPlan(nemoConfig, usual).weights;
    expect(more).toBe(4 * (2 * 3 * 3 * 5120 * 14_336 + 4 * 4 * 5120)); // three experts more each, and float32 gates
  });

  it('plans no training of frozen weights without an adapter', () => {
    const { batch, seq, serveTokens } = usual;
    expect(memoryPlan(nemoConfig, { weights: 'int8', batch, seq, serveTokens }).training).toBeUndefined();
    expect(memoryPlan(nemoConfig, { weights: 'float32', batch, seq, serveTokens }).training!.gradients).toBe(
      4 * 12_247_782_400,
    );
  });

  it('refuses parts whose activations are not counted', () => {
    expect(() => memoryPlan(presets['multi-level']({ vocabSize: 97 }), usual)).toThrow(
      "memoryPlan: attention.kind is 'multi-level', whose activations are not counted",
    );
  });
});

/** How far a plan may be from what a step takes: what operations hold for a moment is not counted. */
const NEAR = 0.12;
const mixture = { numExperts: 4, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;
const small = resolveConfig({
  vocabSize: 97,
  hiddenSize: 96,
  intermediateSize: 224,
  numHiddenLayers: 3,
  numAttentionHeads: 6,
  numKeyValueHeads: 2,
  headDim: 16,
  maxPositionEmbeddings: 128,
});
/** Other proportions: queries wider than the hidden state, a narrow feed-forward. */
const wide = resolveConfig({ ...small, hiddenSize: 128, intermediateSize: 160, headDim: 48, numHiddenLayers: 4 });

describeOnBackends('a memory plan', (backend) => {
  const shape = { batch: 2, seq: 61, serveTokens: 61 };
  const n = shape.batch * shape.seq;
  const batch = {
    ...shape,
    ids: Int32Array.from({ length: n }, (_, i) => i % 97),
    targets: Int32Array.from({ length: n }, (_, i) => (5 * i + 3) % 97),
    mask: new Uint8Array(n).fill(1),
    domains: new Int32Array(n).fill(-1),
  };

  // cpu runs plain forms, which hold more; TensorFlow's copies of tensors share memory that is counted twice here.
  const everywhere = { r: 5, targetModules: 'all-linear' };
  const stacks = { r: 5, targetModules: [], targetParameters: ['experts.gate_up_proj', 'experts.down_proj'] };
  const mixed = resolveConfig({ ...small, mixture });
  const all = { loraDropout: 0.1, useDora: true, initLoraWeights: 'pissa_niter_2' } as const;
  it.skipIf(backend !== 'wasm').each<[string, ModelConfig, WeightDtype, Partial<LoraConfig> | undefined]>([
    ['all of a dense model', small, 'float32', undefined],
    ['an adapter on a dense model in bfloat16', small, 'bfloat16', { ...lora, r: 5 }],
    ['an adapter on a mixture in int8', mixed, 'int8', { ...lora, r: 5 }],
    ['one that drops inputs', small, 'bfloat16', { ...lora, r: 5, loraDropout: 0.1 }],
    ['DoRA', small, 'bfloat16', { ...lora, r: 5, useDora: true }],
    ['one that starts from the base', small, 'bfloat16', { ...lora, r: 5, initLoraWeights: 'pissa_niter_2' }],
    ['all of that', small, 'bfloat16', { ...lora, r: 5, ...all }],
    ['on every linear', small, 'bfloat16', everywhere],
    ['on every linear, dropping inputs', small, 'bfloat16', { ...everywhere, loraDropout: 0.1 }],
    ['DoRA on every linear', small, 'bfloat16', { ...everywhere, useDora: true }],
    ['half of a fused matrix', small, 'bfloat16', { r: 5, targetModules: ['gate_proj'] }],
    ['below attention alone', small, 'bfloat16', { r: 5, targetModules: ['down_proj'] }],
    ['the head alone', small, 'bfloat16', { r: 5, targetModules: ['lm_head'] }],
    ['the last layer alone', small, 'bfloat16', { r: 5, targetModules: ['2.self_attn.o_proj'] }],
    ['stacks of experts', mixed, 'bfloat16', stacks],
    ['stacks of experts and attention', mixed, 'int8', { ...stacks, targetModules: ['q_proj', 'o_proj'] }],
    ['on every linear of other proportions', wide, 'bfloat16', { ...everywhere, loraDropout: 0.1, useDora: true }],
    ['the head of other proportions', wide, 'bfloat16', { r: 5, targetModules: ['lm_head'] }],
  ])('is near what a training step takes: %s', async (_, config, weights, adapterConfig) => {
    const model = weights === 'float32' ? CausalLm.create(config, 1) : frozenModel(config, weights);
    const adapter = adapterConfig && (await attachLoraFromBase(model, adapterConfig, 1));
    const target = trainable(model, { klBalance: 0, zLoss: 0, domainSupervision: 0 }, adapter);
    const step = () =>
      tf.variableGrads(
        () => target.loss(batch, { tokensInStep: n, seed: 1 }).total,
        [...target.parameters().values()],
      ) as unknown as tf.TensorContainer;
    tf.dispose(step()); // makes what a backend keeps for itself
    const plan = memoryPlan(config, { weights, ...(adapterConfig && { lora: adapterConfig }), ...shape });
    const { activations, logits, gradients } = plan.training!;
    const share = (activations + logits + gradients) / peakBytes(step);
    expect(Math.abs(share - 1)).toBeLessThan(NEAR);
    model.dispose();
  });

  it.each(['bfloat16', 'float16', 'int8'] as const)(
    'tells the bytes of frozen weights and adapter exactly: %s',
    (weights) => {
      const config = resolveConfig({ ...small, hiddenSize: 7, mixture: { ...mixture, layers: [1] } });
      const before = tf.memory().numBytes;
      const model = frozenModel(config, weights);
      attachLora(model, lora, 1);
      const plan = memoryPlan(config, { weights, lora, ...shape });
      expect(tf.memory().numBytes - before).toBe(plan.weights + plan.adapter);
      model.dispose();
    },
  );

  it('counts the factors that an adapter holds still where it starts from the base', async () => {
    const settings = { r: 5, targetModules: ['q_proj', 'gate_proj', 'lm_head'], useDora: true } as const;
    const started = { ...settings, initLoraWeights: 'olora' } as const;
    const before = tf.memory().numBytes;
    const model = frozenModel(small, 'bfloat16');
    await attachLoraFromBase(model, started, 1);
    const plan = memoryPlan(small, { weights: 'bfloat16', lora: started, ...shape });
    expect(tf.memory().numBytes - before).toBe(plan.weights + plan.adapter);
    model.dispose();
  });
});
