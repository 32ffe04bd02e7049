import type * as tf from '@tensorflow/tfjs-core';
import { Attention } from '@therapeutic-moe/attention';
import { SwiGluExperts } from '@therapeutic-moe/experts';
import type { DecodeLayerOptions, DecodeLayerWeights } from '@therapeutic-moe/kernels';
import { LoraLinear } from '@therapeutic-moe/lora';
import { type ApplyContext, Linear, type LinearLayer, StackedLinear } from '@therapeutic-moe/nn';
import { TopKRouter } from '@therapeutic-moe/router';
import type { DecoderLayer } from './decoder-layer.js';
import { DenseFeedForward, type FeedForward, MixtureFeedForward } from './feed-forward.js';

/** A layer as the decoding kernel knows it. */
export interface PlainLayer {
  readonly weights: DecodeLayerWeights;
  readonly options: DecodeLayerOptions;
}

/**
 * The weights of a layer made of plain parts alone (projections without bias and without adapters in this pass, top-k softmax router, SwiGLU
 * experts or a dense feed-forward), or nothing for any other. The one place that looks at the kinds of parts.
 */
export function plainLayer(
  { attention, feedForward, inputNorm, postAttentionNorm }: DecoderLayer,
  context?: ApplyContext,
): PlainLayer | undefined {
  if (!(attention instanceof Attention) || attention.config.alibi) return undefined;
  const { q_proj, k_proj, v_proj, o_proj } = attention.projections;
  const [q, k, v, o] = [q_proj, k_proj, v_proj, o_proj].map((linear) => plainWeight(linear, context));
  const second = plainFeedForward(feedForward, context);
  if (!(q && k && v && o && second)) return undefined;
  const { slidingWindow: window } = attention.config;
  const norms = { inputNorm: inputNorm.weight, postAttentionNorm: postAttentionNorm.weight };
  return {
    weights: { ...norms, q, k, v, o, ...second.weights },
    options: { epsilon: inputNorm.epsilon, ...second.choice, ...(window !== undefined && { window }) },
  };
}

function plainFeedForward(feedForward: FeedForward, context?: ApplyContext) {
  if (feedForward instanceof DenseFeedForward) {
    const [gateUp, down] = [feedForward.gateUp, feedForward.down].map((linear) => plainWeight(linear, context));
    return gateUp && down && { weights: { gateUp, down }, choice: { numExpertsPerTok: 1, normTopkProb: true } };
  }
  if (!(feedForward instanceof MixtureFeedForward)) return undefined;
  const { router, experts, sharedExpert } = feedForward;
  if (sharedExpert || !(router instanceof TopKRouter && experts instanceof SwiGluExperts)) return undefined;
  const { scoring = 'softmax', routedScalingFactor = 1, groups, balanceBias } = router.config;
  const gate = plainWeight(router.gate, context);
  if (!gate || scoring !== 'softmax' || routedScalingFactor !== 1 || groups || balanceBias) return undefined;
  const { numExpertsPerTok, normTopkProb } = router.config; // a softmax after top-k equals a normalised one before it
  const [gateUp, down] = [experts.gateUp, experts.down].map((each) => each instanceof StackedLinear && each.weight);
  return gateUp && down && { weights: { gate, gateUp, down }, choice: { numExpertsPerTok, normTopkProb } };
}

function plainWeight(layer: LinearLayer, context?: ApplyContext): tf.Tensor | undefined {
  const linear = layer instanceof LoraLinear && layer.isPlain(context) ? layer.base : layer;
  return linear instanceof Linear && !linear.bias ? linear.weight : undefined;
}
