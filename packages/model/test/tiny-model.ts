import * as tf from '@tensorflow/tfjs-core';
import { CausalLm, type ConfigOverrides, type ModelConfig, resolveConfig } from '../src/index.js';

/** Sizes that differ wherever they can, so that a swapped axis cannot pass; weights large enough to tell experts apart. */
export function tinyConfig(overrides: ConfigOverrides = {}): ModelConfig {
  return resolveConfig({
    vocabSize: 13,
    hiddenSize: 5,
    intermediateSize: 7,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
    headDim: 6,
    maxPositionEmbeddings: 17,
    initializerRange: 0.5,
    mixture: { numExperts: 3, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true },
    ...overrides,
  });
}

export function tinyModel(overrides: ConfigOverrides = {}, seed = 1): CausalLm {
  return CausalLm.create(tinyConfig(overrides), seed);
}

/** Logits of one sequence, `[seq, vocab]` row by row. */
export async function logitsOf(model: CausalLm, ids: readonly number[]): Promise<Float32Array> {
  const logits = tf.tidy(() => model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32')).logits);
  const values = await logits.data<'float32'>();
  logits.dispose();
  return values;
}
