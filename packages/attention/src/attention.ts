import * as tf from '@tensorflow/tfjs-core';
import { flashAttention, type KeyRanges, type RopeTables, rotate } from '@therapeutic-moe/kernels';
import { type ApplyContext, dims, joinParameters, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import { alibiSlopes } from './alibi-slopes.js';
import type { CachedKeys, KvCache } from './kv-cache.js';

/** Head counts and sizes. `headDim` is explicit: it need not be `hidden / heads`. */
export interface AttentionConfig {
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
  /** Heads of keys and values; a divisor of `numAttentionHeads` (grouped-query attention, arXiv:2305.13245). */
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** Most tokens that a token sees, itself included (Mistral's `sliding_window`). Absent: all before it. */
  readonly slidingWindow?: number;
  /** Keys lose score by their distance (`alibiSlopes`), which stands in for positions elsewhere. Absent: they do not. */
  readonly alibi?: boolean;
}

/** The four projections of attention under Hugging Face's names. */
export interface AttentionProjections {
  q_proj: LinearLayer;
  k_proj: LinearLayer;
  v_proj: LinearLayer;
  o_proj: LinearLayer;
}

/** What one pass needs besides the hidden states. */
export interface AttentionPass {
  /** Tables of exactly the positions of this pass. Absent: no rotation, positions come from elsewhere. */
  readonly rope?: RopeTables;
  /** What tokens see besides causality: padding, packed documents. Without a cache only, which says it itself. */
  readonly ranges?: KeyRanges;
  /** Decoding: where earlier keys and values are, and which layer this is. */
  readonly cache?: { readonly store: KvCache; readonly layer: number };
  readonly context?: ApplyContext;
}

/** What a decoder layer asks of its attention, of whatever kind. It owns its projections. */
export interface AttentionLayer {
  readonly config: AttentionConfig;
  readonly projections: AttentionProjections;
  /** @param x `[batch, seq, hidden]` @returns `[batch, seq, hidden]`. Caller disposes. */
  apply(x: tf.Tensor3D, pass: AttentionPass): tf.Tensor3D;
  parameters(): Parameters;
  dispose(): void;
}

/** Causal grouped-query attention with rotary positions. */
export class Attention implements AttentionLayer {
  readonly #slopes: readonly number[] | undefined;

  /** @param projections replaceable, so that an adapter can be put around each; owned by this layer. */
  constructor(
    readonly config: AttentionConfig,
    readonly projections: AttentionProjections,
  ) {
    const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
    if (numAttentionHeads % numKeyValueHeads !== 0) {
      throw new Error(
        `attention: numKeyValueHeads ${numKeyValueHeads} must divide numAttentionHeads ${numAttentionHeads}.`,
      );
    }
    const sizes = {
      q_proj: [hiddenSize, numAttentionHeads * headDim],
      k_proj: [hiddenSize, numKeyValueHeads * headDim],
      v_proj: [hiddenSize, numKeyValueHeads * headDim],
      o_proj: [numAttentionHeads * headDim, hiddenSize],
    } as const;
    for (const [name, [input, output]] of Object.entries(sizes)) {
      const { inputSize, outputSize } = projections[name as keyof AttentionProjections];
      if (inputSize !== input || outputSize !== output) {
        throw new Error(`attention: ${name} must map ${input} to ${output}, got ${inputSize} to ${outputSize}.`);
      }
    }
    this.#slopes = config.alibi ? alibiSlopes(numAttentionHeads) : undefined;
  }

  /** @param x `[batch, seq, hidden]` @returns `[batch, seq, hidden]`. Caller disposes. */
  apply(x: tf.Tensor3D, { rope, ranges, cache, context }: AttentionPass): tf.Tensor3D {
    const { batch, seq } = dims('attention.apply: x', x, ['batch', 'seq', 'hidden'], {
      hidden: this.config.hiddenSize,
    });
    const { numAttentionHeads, numKeyValueHeads, headDim, slidingWindow: window } = this.config;
    const slopes = this.#slopes;
    return tf.tidy(() => {
      const project = (name: keyof AttentionProjections, heads: number) =>
        tf.reshape(this.projections[name].apply(x, context), [batch, seq, heads, headDim]) as tf.Tensor4D;
      const turned = (heads: tf.Tensor4D) => (rope ? rotate(heads, rope) : heads);
      const q = turned(project('q_proj', numAttentionHeads));
      const k = turned(project('k_proj', numKeyValueHeads));
      const v = project('v_proj', numKeyValueHeads);
      const seen: CachedKeys = cache ? cache.store.append(cache.layer, k, v) : { k, v, ...(ranges && { ranges }) };
      const visible = { causal: !cache || !seen.ranges, ...(seen.ranges && { ranges: seen.ranges }) };
      const biased = { ...(window !== undefined && { window }), ...(slopes && { slopes }) };
      const options = { ...visible, scale: headDim ** -0.5, ...biased };
      const mixed = flashAttention(q, seen.k, seen.v, options);
      return this.projections.o_proj.apply(tf.reshape(mixed, [batch, seq, -1]), context) as tf.Tensor3D;
    });
  }

  parameters(): Parameters {
    return joinParameters({ ...this.projections });
  }

  dispose(): void {
    for (const projection of Object.values(this.projections)) projection.dispose();
  }
}
