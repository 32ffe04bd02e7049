// A Mixtral-like decoder the way one writes it at first in TensorFlow.js: built-in ops only, every expert computes every token.
import * as tf from '@tensorflow/tfjs-core';
import type { TrainStepShape } from '../train-step.js';

/** Variables by name: `embed`, `norm`, and per layer `i.q`, `i.k`, `i.v`, `i.o`, `i.norm1`, `i.norm2`, `i.gate`, `i.e.gate`, `i.e.up`, `i.e.down`. */
export type NaiveParameters = ReadonlyMap<string, tf.Variable>;

/** Random weights of a shape. */
export function createNaiveParameters(shape: TrainStepShape): NaiveParameters {
  const { vocabSize, hiddenSize: hidden, intermediateSize: inner, numHiddenLayers, numExperts } = shape;
  const normal = (rows: number, columns: number) =>
    tf.tidy(() => tf.variable(tf.randomNormal([rows, columns], 0, 0.02, 'float32', 7)));
  const ones = () => tf.tidy(() => tf.variable(tf.ones([hidden])));
  const parameters = new Map([
    ['embed', normal(vocabSize, hidden)],
    ['norm', ones()],
  ]);
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    for (const name of ['q', 'k', 'v', 'o']) parameters.set(`${layer}.${name}`, normal(hidden, hidden));
    for (const name of ['norm1', 'norm2']) parameters.set(`${layer}.${name}`, ones());
    parameters.set(`${layer}.gate`, normal(hidden, numExperts));
    for (let expert = 0; expert < numExperts; expert++) {
      for (const name of ['gate', 'up']) parameters.set(`${layer}.${expert}.${name}`, normal(hidden, inner));
      parameters.set(`${layer}.${expert}.down`, normal(inner, hidden));
    }
  }
  return parameters;
}

/**
 * Mean cross-entropy of the next token.
 *
 * @param ids int32 `[batch, seq]`. @param targets int32 `[batch * seq]`.
 */
export function naiveLoss(
  ids: tf.Tensor2D,
  targets: tf.Tensor1D,
  parameters: NaiveParameters,
  shape: TrainStepShape,
): tf.Scalar {
  const weight = (name: string) => parameters.get(name) as tf.Variable;
  return tf.tidy(() => {
    const rotations = ropeTables(shape);
    const mask = causalMask(shape.seq);
    let x = tf.gather(weight('embed'), tf.reshape(ids, [-1])); // [tokens, hidden]
    for (let layer = 0; layer < shape.numHiddenLayers; layer++) {
      const own = (name: string) => weight(`${layer}.${name}`);
      x = tf.add(x, attention(rmsNorm(x, own('norm1')), own, rotations, mask, shape));
      x = tf.add(x, mixture(rmsNorm(x, own('norm2')), own, shape));
    }
    const logits = tf.matMul(rmsNorm(x, weight('norm')) as tf.Tensor2D, weight('embed') as tf.Tensor, false, true);
    const likelihood = tf.mul(tf.logSoftmax(logits), tf.oneHot(targets, shape.vocabSize));
    return tf.neg(tf.mean(tf.sum(likelihood, -1))) as tf.Scalar;
  });
}

function rmsNorm(x: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), scale);
}

function attention(
  x: tf.Tensor,
  weight: (name: string) => tf.Tensor,
  rotations: readonly tf.Tensor[],
  mask: tf.Tensor,
  { batch, seq, hiddenSize, numAttentionHeads: heads }: TrainStepShape,
): tf.Tensor {
  const headDim = hiddenSize / heads;
  const project = (name: string) =>
    tf.transpose(tf.reshape(tf.matMul(x, weight(name)), [batch, seq, heads, headDim]), [0, 2, 1, 3]);
  const [q, k, v] = ['q', 'k', 'v'].map(project); // [batch, heads, seq, headDim]
  const scores = tf.mul(tf.matMul(rotate(q, rotations), rotate(k, rotations), false, true), headDim ** -0.5);
  const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), v);
  return tf.matMul(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, hiddenSize]), weight('o'));
}

/** Every expert computes every token; a mask keeps the chosen ones. */
function mixture(
  x: tf.Tensor,
  weight: (name: string) => tf.Tensor,
  { numExperts, numExpertsPerTok }: TrainStepShape,
): tf.Tensor {
  const probabilities = tf.softmax(tf.matMul(x, weight('gate')));
  const chosen = tf.mul(probabilities, topKMask(probabilities, numExpertsPerTok));
  const shares = tf.div(chosen, tf.sum(chosen, -1, true)); // [tokens, experts]
  const outputs = Array.from({ length: numExperts }, (_, expert) => {
    const gate = tf.matMul(x, weight(`${expert}.gate`));
    const inner = tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.matMul(x, weight(`${expert}.up`)));
    return tf.mul(tf.matMul(inner, weight(`${expert}.down`)), tf.slice(shares, [0, expert], [-1, 1]));
  });
  return tf.addN(outputs);
}

/** `[tokens, experts]`, 1 where chosen; `topk` has no gradient, and none is wanted. */
function topKMask(probabilities: tf.Tensor, k: number): tf.Tensor {
  const experts = probabilities.shape[1] as number;
  return tf.customGrad(() => ({
    value: tf.tidy(() => tf.sum(tf.oneHot(tf.topk(probabilities, k).indices, experts, 1, 0, 'float32'), 1)),
    gradFunc: () => tf.zerosLike(probabilities),
  }))(probabilities);
}

/** Cosines and sines `[seq, headDim / 2]`. */
function ropeTables({ seq, hiddenSize, numAttentionHeads }: TrainStepShape): tf.Tensor[] {
  const half = hiddenSize / numAttentionHeads / 2;
  const angles = tf.outerProduct(
    tf.range(0, seq),
    tf.tensor1d(Array.from({ length: half }, (_, i) => 10_000 ** (-i / half))),
  );
  return [tf.cos(angles), tf.sin(angles)];
}

function rotate(x: tf.Tensor, [cosines, sines]: readonly tf.Tensor[]): tf.Tensor {
  const [a, b] = tf.split(x, 2, -1);
  const left = tf.sub(tf.mul(a, cosines), tf.mul(b, sines));
  return tf.concat([left, tf.add(tf.mul(a, sines), tf.mul(b, cosines))], -1);
}

/** `[seq, seq]`, a large negative number above the diagonal. */
function causalMask(seq: number): tf.Tensor2D {
  const values = new Float32Array(seq * seq);
  for (let row = 0; row < seq; row++) values.fill(-1e9, row * seq + row + 1, (row + 1) * seq);
  return tf.tensor2d(values, [seq, seq]);
}
