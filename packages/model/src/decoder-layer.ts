import * as tf from '@tensorflow/tfjs-core';
import type { AttentionLayer, AttentionPass } from '@therapeutic-moe/attention';
import { decodeLayer, hasDecodeLayer } from '@therapeutic-moe/kernels';
import { joinParameters, type LayerFactory, layersUnder, type Parameters, RmsNorm } from '@therapeutic-moe/nn';
import type { Router, Routing } from '@therapeutic-moe/router';
import { createAttention, createDomainRouter } from './create-attention.js';
import { createMixture } from './create-mixture.js';
import { DenseFeedForward, type Deviations, type FeedForward, type FeedForwardPass } from './feed-forward.js';
import { isMixtureLayer } from './mixture-layers.js';
import type { ModelConfig } from './model-config.js';
import { plainLayer } from './plain-layer.js';

/** What a pass tells a layer besides the hidden states. */
export interface LayerPass extends AttentionPass {
  readonly feedForward?: FeedForwardPass;
}

/** A type, not an interface, so that `tf.tidy` can return it. */
export type LayerOutput = {
  /** `[batch, seq, hidden]` */
  readonly hidden: tf.Tensor3D;
  /** Where the `batch * seq` tokens went, if they were routed. */
  readonly routing?: Routing;
  /** `[experts]` how many choices found no place, where places were limited. */
  readonly overflow?: tf.Tensor1D;
  /** How the domains of the `batch * seq` tokens were weighed, where attention has domains. */
  readonly domainRouting?: Routing;
};

/** norm, attention, add; norm, feed-forward, add. Domains of attention are weighed by what attention is given. */
export class DecoderLayer {
  readonly attention: AttentionLayer;
  readonly domainRouter?: Router;
  readonly feedForward: FeedForward;
  readonly inputNorm: RmsNorm;
  readonly postAttentionNorm: RmsNorm;

  /**
   * @param layer its number, which says whether it holds a mixture.
   * @param layers makes what holds its matrices, by their paths in it.
   */
  constructor(config: ModelConfig, layer: number, deviations: Deviations, seed: number, layers: LayerFactory) {
    this.attention = createAttention(config, deviations, seed, layersUnder(layers, 'self_attn'));
    const domainRouter = createDomainRouter(config, deviations, seed);
    if (domainRouter) this.domainRouter = domainRouter;
    this.feedForward = isMixtureLayer(config, layer)
      ? createMixture(config, deviations, seed, layersUnder(layers, 'block_sparse_moe'))
      : DenseFeedForward.create(config, deviations, seed, layersUnder(layers, 'mlp'));
    this.inputNorm = new RmsNorm(config.hiddenSize, config.rmsNormEps);
    this.postAttentionNorm = new RmsNorm(config.hiddenSize, config.rmsNormEps);
  }

  /** @param x `[batch, seq, hidden]` @returns tensors that the caller disposes. */
  apply(x: tf.Tensor3D, pass: LayerPass): LayerOutput {
    const decoded = this.#decode(x, pass);
    if (decoded) return decoded;
    return tf.tidy(() => {
      const normed = this.inputNorm.apply(x) as tf.Tensor3D;
      const domainRouting = this.domainRouter?.route(tf.reshape(normed, [-1, x.shape[2]]));
      const domains = domainRouting && { domains: domainRouting.probabilities };
      const mixed = tf.add(x, this.attention.apply(normed, { ...pass, ...domains })) as tf.Tensor3D;
      const rows = tf.reshape(this.postAttentionNorm.apply(mixed), [-1, x.shape[2]]) as tf.Tensor2D;
      const { output, routing, overflow } = this.feedForward.apply(rows, pass.feedForward);
      const hidden = tf.add(mixed, tf.reshape(output, x.shape)) as tf.Tensor3D;
      return {
        hidden,
        ...(routing && { routing }),
        ...(overflow && { overflow }),
        ...(domainRouting && { domainRouting }),
      };
    });
  }

  /** One token in one kernel, where there is one that knows this layer and the cache can be written in place. */
  #decode(x: tf.Tensor3D, { cache, rope, feedForward, context }: LayerPass): LayerOutput | undefined {
    if (x.shape[0] !== 1 || x.shape[1] !== 1 || !cache?.store.reserve || !hasDecodeLayer()) return undefined;
    if (feedForward?.replay || feedForward?.mask || feedForward?.seed !== undefined) return undefined;
    const plain = plainLayer(this, context);
    if (!plain || !rope) return undefined;
    const { numKeyValueHeads, headDim } = this.attention.config;
    const room = cache.store.reserve(cache.layer, [numKeyValueHeads, headDim]);
    if (!room) return undefined;
    const windows = [plain.options.window, room.window].filter((window) => window !== undefined);
    const options = { ...plain.options, ...(windows.length > 0 && { window: Math.min(...windows) }) };
    return tf.tidy(() => {
      const row = tf.reshape(x, [1, -1]) as tf.Tensor2D;
      const { hidden, routing } = decodeLayer(row, plain.weights, room, rope, options);
      return {
        hidden: tf.reshape(hidden, x.shape),
        ...(routing && { routing: { ...routing, gates: [routing.logits] } }),
      };
    });
  }

  parameters(): Parameters {
    return new Map([
      ...joinParameters({
        input_layernorm: this.inputNorm,
        self_attn: this.attention,
        ...(this.domainRouter && { domain_gate: this.domainRouter }),
        post_attention_layernorm: this.postAttentionNorm,
      }),
      ...this.feedForward.parameters(),
    ]);
  }

  dispose(): void {
    this.attention.dispose();
    this.domainRouter?.dispose();
    this.feedForward.dispose();
    this.inputNorm.dispose();
    this.postAttentionNorm.dispose();
  }
}
