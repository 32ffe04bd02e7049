import * as tf from '@tensorflow/tfjs-core';
import { flashAttention, type KeyRanges, type RopeTables } from '@therapeutic-moe/kernels';
import { type ApplyContext, joinParameters, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import { alibiSlopes } from './alibi-slopes.js';
import type { CachedKeys, KvCache } from './kv-cache.js';
import type { LevelCache } from './level-cache.js';
import { projectHeads } from './project-heads.js';

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

/** Which part of a cache a pass goes on from. */
export interface CachePass {
  readonly store: KvCache;
  readonly layer: number;
  /** `[batch]`: how many tokens of each row are real, the first ones; the others are padding and give 0. Absent: all. */
  readonly newTokens?: readonly number[];
  /** Where the coarse levels of `MultiLevelAttention` keep their blocks; other layers need none. */
  readonly levels?: LevelCache;
}

/** What one pass needs besides the hidden states. */
export interface AttentionPass {
  /** Tables of exactly the positions of this pass. Absent: no rotation, positions come from elsewhere. */
  readonly rope?: RopeTables;
  /** What tokens see besides causality: padding, packed documents. Without a cache only, which says it itself. */
  readonly ranges?: KeyRanges;
  /** `[batch * seq, domains]`, how much of each domain a token takes, rows sum to 1. For `DomainAttention` only. */
  readonly domains?: tf.Tensor2D;
  /** Decoding: where earlier keys and values are. */
  readonly cache?: CachePass;
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
    checkProjections(config, projections);
    this.#slopes = config.alibi ? alibiSlopes(config.numAttentionHeads) : undefined;
  }

  /** @param x `[batch, seq, hidden]` @returns `[batch, seq, hidden]`. Caller disposes. */
  apply(x: tf.Tensor3D, pass: AttentionPass): tf.Tensor3D {
    const { ranges, cache, context } = pass;
    if (cache && ranges) {
      throw new Error(
        'attention.apply: pass.ranges is given with a cache, which says itself what is seen; say in cache.newTokens how many tokens of each row are real.',
      );
    }
    const { headDim, slidingWindow: window } = this.config;
    const slopes = this.#slopes;
    return tf.tidy(() => {
      const { q, k, v } = projectHeads(x, this.projections, this.config, pass);
      const seen: CachedKeys = cache
        ? cache.store.append(cache.layer, k, v, cache.newTokens)
        : { k, v, ...(ranges && { ranges }) };
      const visible = { causal: !cache || !seen.ranges, ...(seen.ranges && { ranges: seen.ranges }) };
      const biased = { ...(window !== undefined && { window }), ...(slopes && { slopes }) };
      const options = { ...visible, scale: headDim ** -0.5, ...biased };
      const mixed = flashAttention(q, seen.k, seen.v, options);
      return this.projections.o_proj.apply(tf.reshape(mixed, [...mixed.shape.slice(0, 2), -1]), context) as tf.Tensor3D;
    });
  }

  parameters(): Parameters {
    return joinParameters({ ...this.projections });
  }

  dispose(): void {
    for (const projection of Object.values(this.projections)) projection.dispose();
  }
}

/** @throws when head counts do not divide, a window is none, or a projection has other sizes. */
export function checkProjections(config: AttentionConfig, projections: AttentionProjections): void {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim, slidingWindow = 1 } = config;
  if (!(Number.isInteger(slidingWindow) && slidingWindow >= 1)) {
    throw new Error(
      `attention: slidingWindow must be a whole number of 1 or more, got ${slidingWindow}; leave it out for none.`,
    );
  }
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
}
