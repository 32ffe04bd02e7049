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
} from '@therapeutic-moe/attention';
import { Linear, seedFor } from '@therapeutic-moe/nn';
import { type Router, TopKRouter } from '@therapeutic-moe/router';
import type { DomainAttentionConfig } from './attention-config.js';
import type { Deviations } from './feed-forward.js';
import type { ModelConfig } from './model-config.js';

/** The attention of one layer, as the config describes it. */
export function createAttention(config: ModelConfig, deviations: Deviations, seed: number): AttentionLayer {
  const projections = createProjections(config, deviations, seed);
  const { attention, positions, ...sizes } = config;
  const heads: AttentionConfig = positions?.kind === 'alibi' ? { ...sizes, alibi: true } : sizes;
  switch (attention?.kind) {
    case undefined:
      return new Attention(heads, projections);
    case 'domain': {
      const term = (name: keyof AttentionProjections) =>
        createTerm(attention, projections[name], {
          deviation: deviations.inner,
          seed: seedFor(seed, `domains.${name}`),
        });
      const terms = { q_proj: term('q_proj'), k_proj: term('k_proj'), v_proj: term('v_proj'), o_proj: term('o_proj') };
      return new DomainAttention(heads, projections, terms);
    }
    case 'multi-level':
      throw new Error(
        "createAttention: attention.kind 'multi-level' cannot be built yet; leave attention out for plain.",
      );
  }
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
  { numDomains: domains, terms, rank }: DomainAttentionConfig,
  { inputSize, outputSize }: { readonly inputSize: number; readonly outputSize: number },
  start: { deviation: number; seed: number },
): DomainTerm {
  const sizes = { domains, inputSize, outputSize };
  if (terms === 'biases') return DomainBiases.create(sizes);
  return rank === undefined
    ? DomainProjections.create(sizes)
    : LowRankDomainProjections.create(sizes, { ...start, rank });
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
