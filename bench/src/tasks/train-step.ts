import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import {
  CausalLm,
  type ModelConfig,
  resolveConfig,
  type TokenBatch,
  type TrainableModel,
  trainable,
} from '@therapeutic-moe/model';
import { AdamW, clipScale, computeStepGradients } from '@therapeutic-moe/trainer';
import type { Timing } from '../comparison.js';
import { measure } from '../measure.js';
import type { Precision } from '../precision.js';
import { randomIds } from '../random-ids.js';
import type { TrainStepShape } from '../train-step.js';
import { throughDevice } from './through-device.js';

/** The step as the trainer runs it: gradients with all auxiliary losses, metrics read back, clipping, AdamW. */
export async function trainStepOurs(
  input: TrainStepShape & { readonly precision: Precision; readonly backend: BackendName; readonly repeats: number },
): Promise<Timing> {
  const { precision } = input;
  const { kernels } = await useBackend(input.backend, { precision });
  const model = CausalLm.create(modelConfig(input), 7);
  const task = trainable(model, { klBalance: 0.01, zLoss: 0.001, domainSupervision: 0 });
  return { ...(await timeSteps(task, randomBatch(input), input.repeats)), detail: `kernels ${kernels}, ${precision}` };
}

/** Steps as the trainer takes them, all on one batch. */
export async function timeSteps(task: TrainableModel, batch: TokenBatch, repeats: number): Promise<Timing> {
  const optimizer = new AdamW(task.parameters());
  const first = [...task.parameters().values()][0];
  let number = 0;
  const step = async () => {
    number += 1;
    const { gradients, metrics } = await computeStepGradients(task, [batch], { seed: number, where: `step ${number}` });
    optimizer.update(gradients, number, 1e-3, clipScale(metrics.gradientNorm, 1));
    for (const gradient of gradients.values()) gradient.dispose();
    await throughDevice(first);
  };
  return measure(step, { repeats, warmUp: 2 });
}

/** The model of a shape, with as many key-value heads as heads. */
export function modelConfig(shape: TrainStepShape): ModelConfig {
  const { vocabSize, hiddenSize, intermediateSize, numHiddenLayers, numAttentionHeads } = shape;
  const { numExperts, numExpertsPerTok } = shape;
  return resolveConfig({
    vocabSize,
    hiddenSize,
    intermediateSize,
    numHiddenLayers,
    numAttentionHeads,
    maxPositionEmbeddings: shape.seq,
    tieWordEmbeddings: true,
    mixture: { numExperts, numExpertsPerTok, softmaxOrder: 'before-top-k', normTopkProb: true },
  });
}

/** Random tokens, each of them counted. */
export function randomBatch({
  batch,
  seq,
  vocabSize,
}: Pick<TrainStepShape, 'batch' | 'seq' | 'vocabSize'>): TokenBatch {
  const tokens = batch * seq;
  const ids = randomIds(tokens + 1, vocabSize);
  return {
    batch,
    seq,
    ids: ids.slice(0, tokens),
    targets: ids.slice(1),
    mask: new Uint8Array(tokens).fill(1),
    domains: new Int32Array(tokens).fill(-1),
  };
}
