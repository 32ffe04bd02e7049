import * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '@therapeutic-moe/kernels';
import {
  expertLoad,
  klToUniform,
  maskedMean,
  type RouterLossWeights,
  type Routing,
  routerLosses,
} from '@therapeutic-moe/router';

/** Weights of the auxiliary losses; each is a mean over the layers that hold a mixture. A loss whose weight is absent is not computed. */
export interface AuxiliaryWeights {
  /** Of the divergence of the mean routing probabilities from uniform. */
  readonly klBalance: number;
  /** Of the router z-loss. */
  readonly zLoss: number;
  /** Of the cross-entropy that teaches the router the domain that its text source was assigned. */
  readonly domainSupervision: number;
  /** Of Switch Transformer's balance loss, over the batch. */
  readonly switchBalance?: number;
  /** Of the mean squared distance of the mean routing probabilities from uniform. */
  readonly mseBalance?: number;
  /** Of DeepSeek-V3's balance loss within each sequence. */
  readonly sequenceBalance?: number;
  /**
   * Of the divergence from uniform of the mean weights of attention's domains, which are no experts: without it one
   * domain may take all. Absent: not computed.
   */
  readonly domainBalance?: number;
  /** How far a balance bias moves after each step; absent: 0.001. Only for mixtures with `balanceBias`. */
  readonly biasUpdateRate?: number;
}

/** What the losses need to know of a batch. */
export interface RoutedBatch {
  readonly batch: number;
  readonly seq: number;
  readonly mask: Uint8Array;
  readonly domains: Int32Array;
}

/** What a log calls each loss. */
const logged = {
  kl: 'balance',
  z: 'z',
  domain: 'domain',
  switch: 'switchBalance',
  mse: 'mseBalance',
  sequence: 'sequenceBalance',
} as const;

/** Losses to weigh, and the load and entropies that a log wants. */
export interface Auxiliary {
  /** The weighted sum, a scalar. */
  readonly weighted: tf.Tensor;
  /** Means over layers, and vectors by layer whose names say so. */
  readonly metrics: Record<string, tf.Tensor>;
}

/**
 * Auxiliary losses of all layers' routers of experts; nothing for a dense model. Caller disposes; the mean over layers
 * times their number is the sum.
 */
export function auxiliaryLosses(
  routings: readonly Routing[],
  overflows: readonly tf.Tensor1D[],
  batch: RoutedBatch,
  weights: AuxiliaryWeights,
): Auxiliary | undefined {
  if (routings.length === 0) return undefined;
  const mask = tf.tensor1d(Float32Array.from(batch.mask));
  const known = batch.domains.map((domain, i) => (batch.mask[i] ? domain : -1));
  const domains = tf.tensor1d(known, 'int32');
  const labelled = known.reduce((n, domain) => n + (domain >= 0 ? 1 : 0), 0);
  const ofRouter: RouterLossWeights = {
    kl: weights.klBalance,
    z: weights.zLoss,
    switch: weights.switchBalance,
    mse: weights.mseBalance,
    sequence: weights.sequenceBalance,
  };
  const byLayer = routings.map((routing) => {
    const { total, ...each } = routerLosses(routing, ofRouter, { mask, sequences: batch });
    const domain = tf.div(tf.sum(crossEntropy(routing.logits, domains)), Math.max(1, labelled));
    return { total: tf.add(total, tf.mul(domain, weights.domainSupervision)), each: { ...each, domain } };
  });
  const metrics: Record<string, tf.Tensor> = {};
  for (const [loss, name] of Object.entries(logged) as [keyof typeof logged, string][]) {
    const values = byLayer.flatMap(({ each }) => each[loss] ?? []);
    if (values.length === 0) continue;
    metrics[name] = meanOf(values);
    metrics[`${name}ByLayer`] = stackLayers(values);
  }
  const counted = usageMetrics(routings, overflows, mask, batch.mask);
  return { weighted: meanOf(byLayer.map(({ total }) => total)), metrics: { ...metrics, ...counted } };
}

function usageMetrics(
  routings: readonly Routing[],
  overflows: readonly tf.Tensor1D[],
  mask: tf.Tensor1D,
  real: Uint8Array,
): Record<string, tf.Tensor> {
  const load = routings.map((routing) => expertLoad(routing, mask));
  const choices = real.reduce((n, one) => n + one, 0) * routings[0]!.indices.shape[1];
  return {
    expertLoad: meanOf(load),
    expertLoadByLayer: stackLayers(load),
    routingEntropy: meanOf(routings.map((routing) => meanTokenEntropy(routing, mask))),
    ...(overflows.length > 0 && {
      dropRate: meanOf(overflows.map((overflow) => tf.div(tf.sum(overflow), choices))),
    }),
  };
}

function meanOf(layers: readonly tf.Tensor[]): tf.Tensor {
  return tf.mul(tf.addN([...layers]), 1 / layers.length);
}

/** The layers' values one after the other. */
function stackLayers(layers: readonly tf.Tensor[]): tf.Tensor {
  return tf.concat(layers.map((layer) => tf.reshape(layer, [-1])));
}

/**
 * What is watched of all routers: `gateMeanByLayer`, no number where a gate gives none, of the layers' experts and then of
 * their domains; and where there are domains `domainMixByLayer`, their mean weights.
 *
 * @param real `[tokens]`, 1 where the token is real.
 */
export function gateMetrics(
  routings: readonly Routing[],
  domainRoutings: readonly Routing[],
  real: Uint8Array,
): Record<string, tf.Tensor> {
  const all = [...routings, ...domainRoutings];
  if (all.length === 0) return {};
  const mask = tf.tensor1d(Float32Array.from(real));
  const mixes = domainRoutings.map(({ probabilities }) => maskedMean(probabilities, mask));
  return {
    gateMeanByLayer: stackLayers(all.map((routing) => gateMean(routing, mask))),
    ...(mixes.length > 0 && { domainMixByLayer: stackLayers(mixes) }),
  };
}

/** The balance of attention's domains, a mean over layers; nothing where there are none, or without a weight. */
export function domainLosses(
  domainRoutings: readonly Routing[],
  real: Uint8Array,
  { domainBalance }: AuxiliaryWeights,
): Auxiliary | undefined {
  if (domainRoutings.length === 0 || domainBalance === undefined) return undefined;
  const mask = tf.tensor1d(Float32Array.from(real));
  const mean = meanOf(domainRoutings.map((routing) => klToUniform(routing, mask)));
  return { weighted: tf.mul(mean, domainBalance), metrics: { domainBalance: mean } };
}

/** Mean over real tokens of the entropy of their routing probabilities, in nats. */
function meanTokenEntropy(routing: Routing, mask: tf.Tensor1D): tf.Tensor {
  const surprise = tf.neg(tf.mul(routing.probabilities, tf.log(tf.add(routing.probabilities, 1e-9))));
  return tf.squeeze(maskedMean(tf.sum(surprise, 1, true) as tf.Tensor2D, mask));
}

/** Mean output of the gates over real tokens: not finite as soon as one output is not. */
function gateMean({ gates }: Routing, mask: tf.Tensor1D): tf.Tensor {
  return tf.addN(gates.map((gate) => tf.mean(maskedMean(gate, mask))));
}
