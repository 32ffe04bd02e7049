import {
  Attention,
  type AttentionConfig,
  type AttentionLayer,
  type AttentionProjections,
  DomainAttention,
  DomainBiases,
  DomainProjections,
  type DomainTerm,
  LowRankDomainProjections,
  MultiLevelAttention,
  type MultiLevelConfig,
} from '@therapeutic-moe/attention';
import { type LayerFactory, Linear, seedFor } from '@therapeutic-moe/nn';
import { type Router, TopKRouter } from '@therapeutic-moe/router';
import type { DomainAttentionConfig } from './attention-config.js';
import type { Deviations } from './feed-forward.js';
import type { ModelConfig } from './model-config.js';

/** The attention of one layer, as the config describes it. @param layers makes its projections. */
export function createAttention(
  config: ModelConfig,
  deviations: Deviations,
  seed: number,
  layers: LayerFactory,
): AttentionLayer {
  const projections = createProjections(config, deviations, seed, layers);
  const { attention, positions, ...sizes } = config;
  const heads: AttentionConfig = positions?.kind === 'alibi' ? { ...sizes, alibi: true } : sizes;
  switch (attention?.kind) {
    case undefined:
      return new Attention(heads, projections);
    case 'domain':
      return createDomains(heads, projections, { ...attention, deviation: deviations.inner, seed });
    case 'multi-level':
      return createMultiLevel(heads, projections, attention);
  }
}

/** Its gate starts at zero: for every token an even share of each level. */
function createMultiLevel(
  config: AttentionConfig,
  projections: AttentionProjections,
  { window, strides }: MultiLevelConfig,
) {
  const gates = config.numAttentionHeads * (1 + strides.length);
  const gate = Linear.create(config.hiddenSize, gates, { deviation: 0, bias: true, seed: 0 });
  return new MultiLevelAttention(config, { window, strides }, projections, gate);
}

/** Fresh domains change nothing. */
function createDomains(
  config: AttentionConfig,
  projections: AttentionProjections,
  { seed, ...domains }: DomainAttentionConfig & { deviation: number; seed: number },
) {
  const term = (name: keyof AttentionProjections) =>
    createTerm(projections[name], { ...domains, seed: seedFor(seed, `domains.${name}`) });
  const terms = { q_proj: term('q_proj'), k_proj: term('k_proj'), v_proj: term('v_proj'), o_proj: term('o_proj') };
  return new DomainAttention(config, projections, terms);
}

/** What weighs the domains of a token, all of them; nothing where attention is of another kind. */
export function createDomainRouter(
  { attention, hiddenSize }: ModelConfig,
  { inner }: Deviations,
  seed: number,
): Router | undefined {
  if (attention?.kind !== 'domain') return undefined;
  const { numDomains } = attention;
  const gate = Linear.create(hiddenSize, numDomains, { deviation: inner, seed: seedFor(seed, 'domain_gate') });
  const all = { numExperts: numDomains, numExpertsPerTok: numDomains };
  return new TopKRouter(gate, { ...all, softmaxOrder: 'before-top-k', normTopkProb: true });
}

function createTerm(
  { inputSize, outputSize }: { readonly inputSize: number; readonly outputSize: number },
  { numDomains: domains, terms, rank, ...start }: DomainAttentionConfig & { deviation: number; seed: number },
): DomainTerm {
  const sizes = { domains, inputSize, outputSize };
  if (terms === 'biases') return DomainBiases.create(sizes);
  return rank === undefined
    ? DomainProjections.create(sizes)
    : LowRankDomainProjections.create(sizes, { ...start, rank });
}

function createProjections(
  config: ModelConfig,
  { inner, residual }: Deviations,
  seed: number,
  layers: LayerFactory,
): AttentionProjections {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim, qkvBias: bias = false } = config;
  const project = (name: string, input: number, output: number, start: { deviation: number; bias?: boolean }) =>
    layers.linear(name, input, output, { ...start, seed: seedFor(seed, name) });
  const first = { deviation: inner, bias };
  return {
    q_proj: project('q_proj', hiddenSize, numAttentionHeads * headDim, first),
    k_proj: project('k_proj', hiddenSize, numKeyValueHeads * headDim, first),
    v_proj: project('v_proj', hiddenSize, numKeyValueHeads * headDim, first),
    o_proj: project('o_proj', numAttentionHeads * headDim, hiddenSize, { deviation: residual }),
  };
}
