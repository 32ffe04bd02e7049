import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '@therapeutic-moe/backend';
import { CausalLm, trainable } from '@therapeutic-moe/model';
import { beforeAll, describe, expect, it } from 'vitest';
import { randomIds } from '../random-ids.js';
import { modelConfig } from '../tasks/train-step.js';
import type { TrainStepShape } from '../train-step.js';
import { createNaiveParameters, type NaiveParameters, naiveLoss } from './decoder.js';

/** Two float32 sums of some thousand products, in different orders. */
const tolerance = 1e-5;

const shape: TrainStepShape = {
  batch: 2,
  seq: 7,
  vocabSize: 11,
  hiddenSize: 12,
  intermediateSize: 5,
  numHiddenLayers: 2,
  numAttentionHeads: 3,
  numExperts: 3,
  numExpertsPerTok: 2,
};

/** The same weights under the naive names; the naive experts are apart, ours are stacked with gate and up side by side. */
function fillFrom(model: CausalLm, parameters: NaiveParameters): void {
  const ours = model.parameters();
  const { numHiddenLayers, numExperts, intermediateSize } = shape;
  const put = (name: string, value: tf.Tensor) => (parameters.get(name) as tf.Variable).assign(value as tf.Tensor);
  const get = (name: string) => ours.get(name) as tf.Tensor;
  put('embed', get('model.embed_tokens.weight'));
  put('norm', get('model.norm.weight'));
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    const path = `model.layers.${layer}`;
    for (const name of ['q', 'k', 'v', 'o']) put(`${layer}.${name}`, get(`${path}.self_attn.${name}_proj.weight`));
    put(`${layer}.norm1`, get(`${path}.input_layernorm.weight`));
    put(`${layer}.norm2`, get(`${path}.post_attention_layernorm.weight`));
    put(`${layer}.gate`, get(`${path}.block_sparse_moe.gate.weight`));
    const gateUp = tf.unstack(get(`${path}.block_sparse_moe.experts.gate_up_proj`));
    const down = tf.unstack(get(`${path}.block_sparse_moe.experts.down_proj`));
    for (let expert = 0; expert < numExperts; expert++) {
      const [gate, up] = tf.split(gateUp[expert], [intermediateSize, intermediateSize], 1);
      put(`${layer}.${expert}.gate`, gate);
      put(`${layer}.${expert}.up`, up);
      put(`${layer}.${expert}.down`, down[expert]);
    }
  }
}

describe('the naive decoder', () => {
  beforeAll(async () => {
    await useBackend('cpu');
  });

  it('computes the loss and the gradient of our model, so that the comparison is of the same work', () => {
    const model = CausalLm.create(modelConfig(shape), 7);
    const parameters = createNaiveParameters(shape);
    fillFrom(model, parameters);
    const tokens = shape.batch * shape.seq;
    const ids = randomIds(tokens, shape.vocabSize);
    const targets = randomIds(tokens, shape.vocabSize);

    const batch = {
      batch: shape.batch,
      seq: shape.seq,
      ids,
      targets,
      mask: new Uint8Array(tokens).fill(1),
      domains: new Int32Array(tokens).fill(-1),
    };
    const task = trainable(model, { klBalance: 0, zLoss: 0, domainSupervision: 0 });
    const embedding = model.parameters().get('model.embed_tokens.weight') as tf.Variable;
    const ours = tf.variableGrads(() => task.loss(batch, { tokensInStep: tokens, seed: 1 }).total, [embedding]);

    const embed = parameters.get('embed') as tf.Variable;
    const naive = tf.variableGrads(
      () =>
        naiveLoss(
          tf.tensor2d(ids, [shape.batch, shape.seq], 'int32'),
          tf.tensor1d(targets, 'int32'),
          parameters,
          shape,
        ),
      [embed],
    );
    expect(naive.value.dataSync()[0]).toBeCloseTo(ours.value.dataSync()[0], 5);
    const difference = tf.max(tf.abs(tf.sub(naive.grads[embed.name], ours.grads[embedding.name]))).dataSync()[0];
    expect(difference).toBeLessThan(tolerance);
    expect(tf.max(tf.abs(naive.grads[embed.name])).dataSync()[0]).toBeGreaterThan(100 * tolerance);
  });
});
