import { Attention, type AttentionLayer, type AttentionProjections } from '@therapeutic-moe/attention';
import { Linear, seedFor } from '@therapeutic-moe/nn';
import type { Deviations } from './feed-forward.js';
import type { ModelConfig } from './model-config.js';

/** The attention of one layer, as the config describes it. */
export function createAttention(config: ModelConfig, deviations: Deviations, seed: number): AttentionLayer {
  const projections = createProjections(config, deviations, seed);
  switch (config.attention?.kind) {
    case undefined:
      return new Attention(config, projections);
    case 'multi-level':
      throw new Error(
        "createAttention: attention.kind 'multi-level' cannot be built yet; leave attention out for plain.",
      );
  }
}

function createProjections(config: ModelConfig, { inner, residual }: Deviations, seed: number): AttentionProjections {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const project = (name: string, input: number, output: number, deviation: number) =>
    Linear.create(input, output, { deviation, seed: seedFor(seed, name) });
  return {
    q_proj: project('q_proj', hiddenSize, numAttentionHeads * headDim, inner),
    k_proj: project('k_proj', hiddenSize, numKeyValueHeads * headDim, inner),
    v_proj: project('v_proj', hiddenSize, numKeyValueHeads * headDim, inner),
    o_proj: project('o_proj', numAttentionHeads * headDim, hiddenSize, residual),
  };
}
