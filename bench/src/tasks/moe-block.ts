import * as tf from '@tensorflow/tfjs-core';
import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { applyExperts, SwiGluExperts } from '@therapeutic-moe/experts';
import { Linear } from '@therapeutic-moe/nn';
import { TopKRouter } from '@therapeutic-moe/router';
import type { Timing } from '../comparison.js';
import { measure } from '../measure.js';
import type { MoeBlockShape } from '../moe-block.js';
import { throughDevice } from './through-device.js';

/** Routes and runs the experts; with `backward` also the gradients to hidden states, gate and both expert weights. */
export async function moeBlockOurs(
  input: MoeBlockShape & { readonly backend: BackendName; readonly repeats: number },
): Promise<Timing> {
  const { tokens, hiddenSize, precision } = input;
  const { kernels } = await useBackend(input.backend, { precision });
  const apply = createBlock(input);
  const hidden = tf.variable(tf.randomNormal<tf.Rank.R2>([tokens, hiddenSize], 0, 1, 'float32', 7));
  const dy = tf.randomNormal<tf.Rank.R2>([tokens, hiddenSize], 0, 1, 'float32', 11);
  const forward = () => [tf.tidy(() => apply(hidden))];
  const both = () => {
    const { value, grads } = tf.variableGrads(() => tf.sum(tf.mul(apply(hidden), dy)) as tf.Scalar);
    return [value, ...Object.values(grads)];
  };
  const work = async () => {
    const results = input.backward ? both() : forward();
    for (const result of results) await throughDevice(result);
    tf.dispose(results);
  };
  return {
    ...(await measure(work, { ...input, warmUp: 2, atLeastMs: 1000 })),
    detail: `kernels ${kernels}, ${precision}`,
  };
}

function createBlock({ hiddenSize, intermediateSize, numExperts, numExpertsPerTok }: MoeBlockShape) {
  const experts = SwiGluExperts.create(
    { experts: numExperts, hidden: hiddenSize, intermediate: intermediateSize },
    { deviation: 0.02, downDeviation: 0.02, seed: 3 },
  );
  const router = new TopKRouter(Linear.create(hiddenSize, numExperts, { deviation: 0.02, seed: 5 }), {
    numExperts,
    numExpertsPerTok,
    softmaxOrder: 'before-top-k',
    normTopkProb: true,
  });
  return (hidden: tf.Tensor2D) => applyExperts(hidden, router.route(hidden), experts);
}
