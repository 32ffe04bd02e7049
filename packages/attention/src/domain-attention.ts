import * as tf from '@tensorflow/tfjs-core';
import { dims, joinParameters, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import {
  Attention,
  type AttentionConfig,
  type AttentionLayer,
  type AttentionPass,
  type AttentionProjections,
  checkProjections,
} from './attention.js';
import type { DomainTerm } from './domain-terms.js';

/** What the domains add to each projection. */
export type DomainTerms = Readonly<Record<keyof AttentionProjections, DomainTerm>>;

/**
 * Attention whose projections depend on the domain: each is a shared one plus a mix of what the domains have of their
 * own, `x W + sum_d w_d (x W_d + b_d)`, with the weights of the token that is projected (as DEMix mixes whole
 * feed-forward layers by domain, arXiv:2108.05036). The weights come with the pass, as a router made them. A token's keys
 * and values keep the weights that it came with, so decoding gives what one pass gives.
 */
export class DomainAttention implements AttentionLayer {
  /**
   * @param projections the shared ones, replaceable; owned by this layer.
   * @param terms what domains add to each; owned by this layer.
   */
  constructor(
    readonly config: AttentionConfig,
    readonly projections: AttentionProjections,
    readonly terms: DomainTerms,
  ) {
    checkProjections(config, projections);
    for (const name of Object.keys(projections) as (keyof AttentionProjections)[])
      checkTerm(name, terms[name], projections[name], this.domains);
  }

  get domains(): number {
    return this.terms.q_proj.domains;
  }

  /** @param pass with `domains`. */
  apply(x: tf.Tensor3D, { domains: mix, ...pass }: AttentionPass): tf.Tensor3D {
    if (!mix) {
      throw new Error(
        'domainAttention.apply: pass.domains is absent; give the weights of the domains that a router made of these tokens.',
      );
    }
    const { batch, seq } = dims('domainAttention.apply: x', x, ['batch', 'seq', 'hidden']);
    dims('domainAttention.apply: pass.domains', mix, ['tokens', 'domains'], {
      tokens: batch * seq,
      domains: this.domains,
    });
    const mixed = (name: keyof AttentionProjections) => withTerm(this.projections[name], this.terms[name], mix);
    const projections = {
      q_proj: mixed('q_proj'),
      k_proj: mixed('k_proj'),
      v_proj: mixed('v_proj'),
      o_proj: mixed('o_proj'),
    };
    return new Attention(this.config, projections).apply(x, pass);
  }

  parameters(): Parameters {
    const terms = Object.entries(this.terms).map(([name, term]) => [`domains.${name}`, term]);
    return joinParameters({ ...this.projections, ...Object.fromEntries(terms) });
  }

  dispose(): void {
    for (const part of [...Object.values(this.projections), ...Object.values(this.terms)]) part.dispose();
  }
}

/** A projection as the tokens of one pass see it. It owns nothing. */
function withTerm(shared: LinearLayer, term: DomainTerm, mix: tf.Tensor2D): LinearLayer {
  const { inputSize, outputSize } = shared;
  return {
    inputSize,
    outputSize,
    apply: (x, context) =>
      tf.tidy(() => {
        const own = term.apply(tf.reshape(x, [-1, inputSize]), mix);
        return tf.add(shared.apply(x, context), tf.reshape(own, [...x.shape.slice(0, -1), outputSize]));
      }),
    parameters: () => shared.parameters(),
    dispose: () => undefined,
  };
}

function checkTerm(name: string, term: DomainTerm, { inputSize, outputSize }: LinearLayer, domains: number): void {
  if (term.domains !== domains) {
    throw new Error(
      `domainAttention: the term of ${name} has ${term.domains} domains, that of q_proj ${domains}; they must be equal.`,
    );
  }
  const { inputSize: input = inputSize, outputSize: output } = term;
  if (input !== inputSize || output !== outputSize) {
    throw new Error(
      `domainAttention: the term of ${name} must map ${inputSize} to ${outputSize}, got ${input} to ${output}.`,
    );
  }
}
