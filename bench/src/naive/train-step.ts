import * as tf from '@tensorflow/tfjs-core';
import type { Timing } from '../comparison.js';
import { measure } from '../measure.js';
import { randomIds } from '../random-ids.js';
import type { TrainStepShape } from '../train-step.js';
import { createNaiveParameters, naiveLoss } from './decoder.js';
import { addSegmentSum } from './segment-sum.js';
import { useStockWasm } from './stock-wasm.js';

/** The step on the kernels that tfjs-wasm ships, with tfjs's own Adam. It warms up on one short sequence. */
export async function trainStepNaive(input: TrainStepShape & { readonly repeats: number }): Promise<Timing> {
  await useStockWasm();
  addSegmentSum();
  const parameters = createNaiveParameters(input);
  const variables = [...parameters.values()];
  const optimizer = tf.train.adam(1e-3);
  const step = async (shape: TrainStepShape) => {
    const { batch, seq, vocabSize } = shape;
    const ids = tf.tensor2d(randomIds(batch * seq, vocabSize), [batch, seq], 'int32');
    const targets = tf.tensor1d(randomIds(batch * seq, vocabSize), 'int32');
    const { value, grads } = tf.variableGrads(() => naiveLoss(ids, targets, parameters, shape), variables);
    optimizer.applyGradients(grads as Parameters<typeof optimizer.applyGradients>[0]);
    await value.data();
    tf.dispose([ids, targets, value, grads]);
  };
  for (let i = 0; i < 2; i++) await step({ ...input, batch: 1, seq: 8 });
  return measure(() => step(input), { repeats: input.repeats, warmUp: 0 });
}
