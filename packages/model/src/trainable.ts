import * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '@therapeutic-moe/kernels';
import { adapterSwitch, type LoraAdapter } from '@therapeutic-moe/lora';
import { type AuxiliaryWeights, auxiliaryLosses, domainLosses, gateMetrics } from './auxiliary-losses.js';
import { type CausalLm, notFiniteGate } from './causal-lm.js';
import { routedLayers } from './mixture-layers.js';

/** A batch of token windows on the host. All arrays have `batch * seq` entries, row by row. */
export interface TokenBatch {
  readonly batch: number;
  readonly seq: number;
  readonly ids: Int32Array;
  /** The next token of each, or a negative number where it is not counted. */
  readonly targets: Int32Array;
  /** 1 where the token is real, 0 where it is padding. */
  readonly mask: Uint8Array;
  /** Domain of each token, or -1. */
  readonly domains: Int32Array;
}

/** A loss to differentiate, and what to log. The tensors belong to the caller. */
export interface TrainingLoss {
  readonly total: tf.Scalar;
  /** Scalars, `expertLoad` `[experts]`, and vectors by layer, one mixture layer after the other. */
  readonly metrics: Record<string, tf.Tensor>;
}

/** A model as a trainer sees it: the variables to fit, and the loss of a batch. */
export interface TrainableModel {
  parameters(): ReadonlyMap<string, tf.Variable>;
  /** What is saved beside the parameters and is not trained by gradients. */
  buffers(): ReadonlyMap<string, tf.Variable>;
  loss(batch: TokenBatch, step: { tokensInStep: number; seed?: number }): TrainingLoss;
  /** @throws naming the layer whose gate is not finite in a step's metrics; every backend reads these. */
  checkMetrics(metrics: Readonly<Record<string, readonly number[]>>): void;
  /** Moves balance biases, by the step's metrics, after its update. */
  afterStep(metrics: Readonly<Record<string, readonly number[]>>): void;
}

/** DeepSeek-V3's. */
const usualBiasRate = 0.001;

/**
 * Makes a model trainable: all of it, or with `adapter` only the adapter's factors.
 *
 * The loss of a batch is `sum of cross-entropies / tokensInStep`, plus the auxiliary losses times the batch's share of
 * the step's counted tokens, so that the gradients of micro-batches add up to the gradient of one big batch. That is
 * exact for the cross-entropies, and for the z-loss and the domain loss where the real and the labelled tokens of the
 * micro-batches are in proportion to the counted ones; the balances are of means, taken per micro-batch, and a limited
 * capacity is shared out per micro-batch. Padding visits no expert.
 *
 * @throws when the model is frozen and there is no adapter, or a bias rate is given and the model has no balance bias; from `loss`, when the adapter is switched off or merged, the arrays do not fit the batch,
 *   an id is outside the vocabulary, a domain has no expert, or the step counts no token.
 */
export function trainable(model: CausalLm, weights: AuxiliaryWeights, adapter?: LoraAdapter): TrainableModel {
  if (!adapter && model.frozenWeights.size > 0) {
    throw new Error(
      'trainable: the weights of this model are frozen in fewer bytes and cannot be trained; train an adapter on it, or load it with float32 weights.',
    );
  }
  const domains = model.config.mixture?.numExperts ?? 0;
  const balanced = !adapter && model.config.mixture?.balanceBias === true;
  if (weights.biasUpdateRate !== undefined && !balanced) {
    throw new Error(
      `trainable: biasUpdateRate is ${weights.biasUpdateRate}, but ${adapter ? 'an adapter leaves the router as it is' : 'the model has no balance bias'}; set mixture.balanceBias, or leave the rate out.`,
    );
  }
  return {
    parameters: () => (adapter ?? model).parameters(),
    buffers: () => (adapter ? new Map() : model.buffers()),
    loss(batch, { tokensInStep, seed }) {
      checkBatch(batch, model.vocabSize, domains);
      if (adapter) checkAtWork(model, adapter);
      if (!(tokensInStep > 0)) {
        throw new Error(`trainable.loss: tokensInStep must be above 0, got ${tokensInStep}; a step counts some token.`);
      }
      return tf.tidy(() => {
        const ids = tf.tensor2d(batch.ids, [batch.batch, batch.seq], 'int32');
        const mask = batch.mask.includes(0) ? { mask: batch.mask } : {};
        const { logits, routings, overflows, domainRoutings } = model.forward(ids, {
          context: { dropoutSeed: seed },
          ...mask,
        });
        const rows = tf.reshape(logits, [-1, model.vocabSize]) as tf.Tensor2D;
        const crossEntropySum = tf.sum(crossEntropy(rows, tf.tensor1d(batch.targets, 'int32')));
        const counted = batch.targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
        const mean = tf.mul(crossEntropySum, 1 / tokensInStep) as tf.Scalar;
        const watched = { crossEntropySum, ...gateMetrics(routings, domainRoutings, batch.mask) };
        const parts = [
          auxiliaryLosses(routings, overflows, batch, weights),
          domainLosses(domainRoutings, batch.mask, weights),
        ].filter((part) => part !== undefined);
        const share = counted / tokensInStep;
        const total = tf.addN([mean, ...parts.map(({ weighted }) => tf.mul(weighted, share))]) as tf.Scalar;
        return { total, metrics: Object.assign(watched, ...parts.map(({ metrics }) => metrics)) };
      }) as TrainingLoss;
    },
    checkMetrics({ gateMeanByLayer = [] }) {
      const router = gateMeanByLayer.findIndex((mean) => !Number.isFinite(mean));
      if (router >= 0) throw notFiniteGate(routedLayers(model.config)[router]!);
    },
    afterStep({ expertLoadByLayer }) {
      if (!balanced || !expertLoadByLayer) return;
      const rate = weights.biasUpdateRate ?? usualBiasRate;
      for (const [i, mixture] of model.mixtures().entries())
        mixture.balance(expertLoadByLayer.slice(i * domains, (i + 1) * domains), rate);
    },
  };
}

/** The passes of a loss must go through the adapter, or its factors get no gradient. */
function checkAtWork(model: CausalLm, adapter: LoraAdapter): void {
  const { name, merged } = adapter;
  const state = adapterSwitch(model);
  if (merged)
    throw new Error(
      `trainable.loss: adapter '${name}' is merged into the base, so its factors take no part in a pass; unmerge it to train it.`,
    );
  if (state?.adapters.get(name) !== adapter || !state.active.includes(name))
    throw new Error(
      `trainable.loss: adapter '${name}' is switched off or not on this model, so its factors take no part in a pass; switch it on with Adapters.use('${name}').`,
    );
}

function checkBatch({ batch, seq, ids, targets, mask, domains }: TokenBatch, vocabSize: number, experts: number): void {
  for (const [name, array] of Object.entries({ ids, targets, mask, domains })) {
    if (array.length !== batch * seq) {
      throw new Error(`trainable.loss: ${name} must have batch * seq = ${batch * seq} entries, got ${array.length}.`);
    }
  }
  for (let i = 0; i < ids.length; i++) {
    if (!(ids[i]! >= 0 && ids[i]! < vocabSize))
      throw new Error(`trainable.loss: id ${ids[i]} at ${i} is outside the vocabulary of ${vocabSize}.`);
    if (targets[i]! >= vocabSize)
      throw new Error(`trainable.loss: target ${targets[i]} at ${i} is outside the vocabulary of ${vocabSize}.`);
    if (experts > 0 && domains[i]! >= experts)
      throw new Error(`trainable.loss: domain ${domains[i]} at ${i} has no expert; there are ${experts}.`);
  }
}
