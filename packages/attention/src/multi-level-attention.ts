import * as tf from '@tensorflow/tfjs-core';
import { flashAttention } from '@therapeutic-moe/kernels';
import { joinParameters, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import {
  type AttentionConfig,
  type AttentionLayer,
  type AttentionPass,
  type AttentionProjections,
  checkProjections,
} from './attention.js';
import { coarseLevel } from './coarse-level.js';
import type { CachedKeys } from './kv-cache.js';
import { mixLevels } from './mix-levels.js';
import { type MultiLevelConfig, resolveMultiLevelConfig } from './multi-level-config.js';
import { newestRows } from './newest-rows.js';
import { projectHeads } from './project-heads.js';

/**
 * Causal attention at several resolutions, mixed by learned shares.
 *
 * The fine level is attention in a sliding window (Longformer, arXiv:2004.05150). A level of stride r sees the text in
 * blocks of r tokens, each compressed to one key and one value (NSA, arXiv:2502.11089, section 3.3.1, here by the mean),
 * and has one query for each block, so that it costs `(seq / r)^2`. A token takes what the last block brought that ended
 * at it or before it, never one that it is in the middle of: no later token reaches it. For each head a softmax over the
 * levels, by a linear gate of the token, weighs what they give; a level without a whole block yet has no share.
 */
export class MultiLevelAttention implements AttentionLayer {
  readonly levels: MultiLevelConfig;

  /**
   * @param projections replaceable, so that an adapter can be put around each; owned by this layer.
   * @param gate from `hidden` to `heads * levels`: for each head a number for each level, the fine one first. All equal,
   *   each has an even share. Owned by this layer.
   * @throws when sizes do not fit, `config` has a window of its own or ALiBi, or levels leave tokens out.
   */
  constructor(
    readonly config: AttentionConfig,
    levels: MultiLevelConfig,
    readonly projections: AttentionProjections,
    readonly gate: LinearLayer,
  ) {
    checkProjections(config, projections);
    this.levels = resolveMultiLevelConfig(levels);
    const { hiddenSize, numAttentionHeads, slidingWindow, alibi } = config;
    const shares = numAttentionHeads * (1 + this.levels.strides.length);
    if (gate.inputSize !== hiddenSize || gate.outputSize !== shares) {
      throw new Error(
        `multi-level attention: gate must map ${hiddenSize} to ${shares} (heads times levels), got ${gate.inputSize} to ${gate.outputSize}.`,
      );
    }
    if (alibi)
      throw new Error('multi-level attention: alibi is set, but blocks have no distance of their own; leave it out.');
    if (slidingWindow !== undefined) {
      throw new Error(
        `multi-level attention: slidingWindow is ${slidingWindow}, but the fine level has the window ${this.levels.window}; leave slidingWindow out.`,
      );
    }
  }

  /**
   * @param x `[batch, seq, hidden]`.
   * @param pass without `ranges`; while decoding, its cache needs `levels`.
   * @returns `[batch, seq, hidden]`. Caller disposes.
   */
  apply(x: tf.Tensor3D, pass: AttentionPass): tf.Tensor3D {
    checkPass(pass);
    const { cache, context } = pass;
    return tf.tidy(() => {
      const heads = projectHeads(x, this.projections, this.config, pass);
      const seen = cache ? cache.store.append(cache.layer, heads.k, heads.v) : heads;
      const mixed = mixLevels([this.#fine(heads.q, seen), ...this.#coarse(heads.q, seen, pass)], this.#gates(x, pass));
      const [batch, seq] = heads.q.shape;
      return this.projections.o_proj.apply(tf.reshape(mixed, [batch, seq, -1]), context) as tf.Tensor3D;
    });
  }

  parameters(): Parameters {
    return joinParameters({ ...this.projections, level_gate: this.gate });
  }

  dispose(): void {
    for (const part of [...Object.values(this.projections), this.gate]) part.dispose();
  }

  get #scale(): number {
    return this.config.headDim ** -0.5;
  }

  #fine(q: tf.Tensor4D, { k, v, ranges }: CachedKeys): tf.Tensor4D {
    const visible = { causal: !ranges, ...(ranges && { ranges }), window: this.levels.window };
    return flashAttention(q, k, v, { ...visible, scale: this.#scale });
  }

  #coarse(q: tf.Tensor4D, seen: CachedKeys, { cache }: AttentionPass): tf.Tensor4D[] {
    return this.levels.strides.map((stride) => {
      const unfinished = (cache?.levels?.start ?? 0) % stride;
      const rows = newestRows(seen, q.shape[1], unfinished);
      return coarseLevel({ q, ...rows }, { stride, scale: this.#scale }, cache?.levels);
    });
  }

  /** `[batch, seq, heads, levels]`, far below 0 where a level has no whole block yet. */
  #gates(x: tf.Tensor3D, { cache, context }: AttentionPass): tf.Tensor4D {
    const [batch, seq] = x.shape;
    const strides = [1, ...this.levels.strides];
    const start = cache?.levels?.start ?? 0;
    const absent = Float32Array.from({ length: seq * strides.length }, (_, at) => {
      const token = start + Math.floor(at / strides.length);
      return token + 1 < strides[at % strides.length]! ? -1e9 : 0;
    });
    const gates = tf.reshape(this.gate.apply(x, context), [batch, seq, this.config.numAttentionHeads, strides.length]);
    return tf.add(gates, tf.tensor4d(absent, [1, seq, 1, strides.length]));
  }
}

function checkPass({ ranges, cache }: AttentionPass): void {
  if (ranges) {
    throw new Error(
      'multi-level attention: pass.ranges is given, but blocks are cut at the same places in all rows; leave it out: padding goes behind the text, documents into rows of their own.',
    );
  }
  if (cache?.newTokens) {
    throw new Error(
      `multi-level attention: pass.cache.newTokens is [${cache.newTokens}], but blocks are cut at the same places in all rows; leave it out and give rows with padding a pass each.`,
    );
  }
  if (cache && !cache.levels) {
    throw new Error(
      'multi-level attention: pass.cache needs levels, where coarse levels keep their blocks; got a cache of keys and values alone.',
    );
  }
}
