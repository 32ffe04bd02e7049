import * as tf from '@tensorflow/tfjs-core';
import { ignoredTarget, type LossTerms, type Trainable, type TrainBatch } from '../src/index.js';

/** A bigram model: embedding, one matrix, a norm-like vector. Small, but every kind of parameter is there. */
export function toyTrainable({ vocab = 7, hidden = 5, seed = 3 } = {}): Trainable & { dispose(): void } {
  const make = (shape: number[], at: number) =>
    tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 0.3, 'float32', seed + at)));
  const parameters = new Map<string, tf.Variable>([
    ['embedding', make([vocab, hidden], 1)],
    ['scale', tf.tidy(() => tf.variable(tf.ones([hidden])))],
    ['head', make([hidden, vocab], 2)],
  ]);
  const variable = (name: string) => parameters.get(name) as tf.Variable;
  return {
    parameters: () => parameters,
    loss(batch: TrainBatch, { tokensInStep }): LossTerms {
      const oneHot = (ids: ArrayLike<number>) =>
        tf.cast(tf.oneHot(tf.tensor1d(Int32Array.from(ids), 'int32'), vocab), 'float32');
      const counted = tf.tensor1d(Float32Array.from(batch.targets, (target) => (target === ignoredTarget ? 0 : 1)));
      const hiddens = tf.mul(tf.matMul(oneHot(batch.ids), variable('embedding') as tf.Tensor2D), variable('scale'));
      const logits = tf.matMul(hiddens as tf.Tensor2D, variable('head') as tf.Tensor2D);
      const picked = tf.sum(
        tf.mul(tf.logSoftmax(logits), oneHot(batch.targets.map((target) => Math.max(0, target)))),
        1,
      );
      const crossEntropySum = tf.neg(tf.sum(tf.mul(picked, counted))) as tf.Scalar;
      return {
        total: tf.div(crossEntropySum, tokensInStep) as tf.Scalar,
        metrics: { crossEntropySum, expertLoad: tf.tensor1d([0.25, 0.75]), routingEntropy: tf.scalar(0.5) },
      };
    },
    dispose: () => tf.dispose([...parameters.values()]),
  };
}

/** An invented token stream with a pattern to learn. */
export function toyDocuments(count = 11, vocab = 7) {
  return Array.from({ length: count }, (_, i) => ({
    ids: Int32Array.from({ length: 5 + (i % 4) }, (_, j) => 1 + ((i + j * (1 + (i % 2))) % (vocab - 1))),
    domain: i % 2,
    bytes: 5 + (i % 4),
  }));
}
