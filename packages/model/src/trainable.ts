import * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '@therapeutic-moe/kernels';
import type { LoraAdapter } from '@therapeutic-moe/lora';
import { expertLoad, klToUniform, maskedMean, type Routing, zLoss } from '@therapeutic-moe/router';
import type { CausalLm } from './causal-lm.js';

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

/** Weights of the auxiliary losses; each is a mean over layers and tokens. */
export interface AuxiliaryWeights {
  /** Of the divergence of the mean routing probabilities from uniform. */
  readonly klBalance: number;
  /** Of the router z-loss. */
  readonly zLoss: number;
  /** Of the cross-entropy that teaches the router the domain that its text source was assigned. */
  readonly domainSupervision: number;
}

/** A loss to differentiate, and what to log. The tensors belong to the caller. */
export interface TrainingLoss {
  readonly total: tf.Scalar;
  /** Scalars, and `expertLoad` `[experts]`. */
  readonly metrics: Record<string, tf.Tensor>;
}

/** A model as a trainer sees it: the variables to fit, and the loss of a batch. */
export interface TrainableModel {
  parameters(): ReadonlyMap<string, tf.Variable>;
  loss(batch: TokenBatch, step: { tokensInStep: number; seed?: number }): TrainingLoss;
}

/**
 * Makes a model trainable: all of it, or with `adapter` only the adapter's factors.
 *
 * The loss of a batch is `sum of cross-entropies / tokensInStep`, plus the auxiliary losses times the batch's share of
 * the step's counted tokens, so that the gradients of micro-batches add up to the gradient of one big batch. That is
 * exact for the cross-entropies, and for the z-loss and the domain loss where the real and the labelled tokens of the
 * micro-batches are in proportion to the counted ones; the balance is a divergence of means, taken per micro-batch.
 *
 * @throws from `loss`, when the arrays do not fit the batch, an id is outside the vocabulary, a domain has no expert, or
 *   the step counts no token.
 */
export function trainable(model: CausalLm, weights: AuxiliaryWeights, adapter?: LoraAdapter): TrainableModel {
  const domains = model.config.mixture?.numExperts ?? 0;
  return {
    parameters: () => (adapter ?? model).parameters(),
    loss(batch, { tokensInStep, seed }) {
      checkBatch(batch, model.vocabSize, domains);
      if (!(tokensInStep > 0)) {
        throw new Error(`trainable.loss: tokensInStep must be above 0, got ${tokensInStep}; a step counts some token.`);
      }
      return tf.tidy(() => {
        const ids = tf.tensor2d(batch.ids, [batch.batch, batch.seq], 'int32');
        const { logits, routings } = model.forward(ids, { context: { dropoutSeed: seed } });
        const rows = tf.reshape(logits, [-1, model.vocabSize]) as tf.Tensor2D;
        const crossEntropySum = tf.sum(crossEntropy(rows, tf.tensor1d(batch.targets, 'int32')));
        const counted = batch.targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
        const mean = tf.mul(crossEntropySum, 1 / tokensInStep) as tf.Scalar;
        if (routings.length === 0) return { total: mean, metrics: { crossEntropySum } };
        const auxiliary = auxiliaryLosses(routings, batch);
        const weighted = tf.addN([
          tf.mul(auxiliary.balance, weights.klBalance),
          tf.mul(auxiliary.z, weights.zLoss),
          tf.mul(auxiliary.domain, weights.domainSupervision),
        ]);
        const total = tf.add(mean, tf.mul(weighted, counted / tokensInStep)) as tf.Scalar;
        return { total, metrics: { crossEntropySum, ...auxiliary } };
      }) as TrainingLoss;
    },
  };
}

/** Means over layers, and the load and entropy that a log wants. */
function auxiliaryLosses(routings: readonly Routing[], batch: TokenBatch) {
  const mask = tf.tensor1d(Float32Array.from(batch.mask));
  const domains = tf.tensor1d(batch.domains, 'int32');
  const labelled = batch.domains.reduce((n, domain) => n + (domain >= 0 ? 1 : 0), 0);
  const overLayers = (f: (routing: Routing) => tf.Tensor) => tf.mul(tf.addN(routings.map(f)), 1 / routings.length);
  return {
    balance: overLayers((routing) => klToUniform(routing, mask)),
    z: overLayers((routing) => zLoss(routing, mask)),
    domain: overLayers((routing) => tf.div(tf.sum(crossEntropy(routing.logits, domains)), Math.max(1, labelled))),
    expertLoad: overLayers((routing) => expertLoad(routing, mask)),
    routingEntropy: overLayers((routing) => meanTokenEntropy(routing, mask)),
  };
}

/** Mean over real tokens of the entropy of their routing probabilities, in nats. */
function meanTokenEntropy(routing: Routing, mask: tf.Tensor1D): tf.Tensor {
  const surprise = tf.neg(tf.mul(routing.probabilities, tf.log(tf.add(routing.probabilities, 1e-9))));
  return tf.squeeze(maskedMean(tf.sum(surprise, 1, true) as tf.Tensor2D, mask));
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
