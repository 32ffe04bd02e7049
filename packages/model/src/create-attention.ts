import {
  Attention,
  type AttentionLayer,
  type AttentionProjections,
  MultiLevelAttention,
  type MultiLevelConfig,
} from '@therapeutic-moe/attention';
import { Linear, seedFor } from '@therapeutic-moe/nn';
import type { Deviations } from './feed-forward.js';
import type { ModelConfig } from './model-config.js';

/** The attention of one layer, as the config describes it. */
export function createAttention(config: ModelConfig, deviations: Deviations, seed: number): AttentionLayer {
  const projections = createProjections(config, deviations, seed);
  const { attention } = config;
  switch (attention?.kind) {
    case undefined:
      return new Attention(config, projections);
    case 'multi-level':
      return createMultiLevel(config, projections, attention);
  }
}

/** Its gate starts at zero: for every token an even share of each level. */
function createMultiLevel(config: ModelConfig, projections: AttentionProjections, levels: MultiLevelConfig) {
  const gates = config.numAttentionHeads * (1 + levels.strides.length);
  const gate = Linear.create(config.hiddenSize, gates, { deviation: 0, bias: true, seed: 0 });
  return new MultiLevelAttention(config, levels, projections, gate);
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
