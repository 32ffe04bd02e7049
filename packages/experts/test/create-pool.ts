import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { type RouterConfig, TopKRouter } from '@therapeutic-moe/router';
import { applyExperts, type ExpertPool, type SortPlan, SwiGluExperts } from '../src/index.js';
import { ScaledExperts } from './scaled-experts.js';

export const TOKENS = 11;
export const HIDDEN = 5;
export const INTERMEDIATE = 3;
/** float32 sums of a few products in another order. */
export const SUM = 2e-5;

export function createExperts(experts: number, seed = 3): SwiGluExperts {
  return SwiGluExperts.create(
    { experts, hidden: HIDDEN, intermediate: INTERMEDIATE },
    { deviation: 1, downDeviation: 0.7, seed },
  );
}

/** Experts of a kind that has a parameter of all experts. */
export function createScaledExperts(experts: number): ScaledExperts {
  const scale = tf.tidy(() => tf.variable(tf.tensor1d([1, -0.5, 2, 0.7, 1.3])));
  return new ScaledExperts(createExperts(experts), scale);
}

/** A pool with a random gate; `bias` gives the gate one of these values. */
export function createPool(
  experts: number,
  k: number,
  { bias, ...settings }: { bias?: number[] } & Partial<RouterConfig> = {},
): ExpertPool {
  const gate = Linear.create(HIDDEN, experts, { deviation: 1, bias: bias !== undefined, seed: 7 });
  if (bias) tf.tidy(() => gate.bias!.assign(tf.tensor1d(bias)));
  const router = new TopKRouter(gate, {
    numExperts: experts,
    numExpertsPerTok: k,
    softmaxOrder: 'before-top-k',
    normTopkProb: true,
    ...settings,
  });
  return { router, experts: createExperts(experts) };
}

export function randomTokens(count = TOKENS, seed = 5): tf.Tensor2D {
  return tf.randomNormal<tf.Rank.R2>([count, HIDDEN], 0, 1, 'float32', seed);
}

/** The layer's output. Caller disposes. */
export function applyPool({ router, experts }: ExpertPool, hidden: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => applyExperts(hidden, router.route(hidden), experts));
}

/** Choices and probabilities on the host, which every backend can give. */
export async function routeOnHost({ router }: ExpertPool, hidden: tf.Tensor2D) {
  const routing = router.route(hidden);
  const read = async (t: tf.Tensor) => [...(await t.data())];
  const [indices, probabilities] = [await read(routing.indices), await read(routing.probabilities)];
  tf.dispose(routing);
  return { indices, probabilities };
}

export function disposePools(...pools: ExpertPool[]): void {
  for (const { router, experts } of pools) {
    router.dispose();
    experts.dispose();
  }
}

export function disposePlan({ tokenOfRow, choiceOfRow, groupOfRow, rowOfChoice }: SortPlan): void {
  tf.dispose([tokenOfRow, choiceOfRow, groupOfRow, rowOfChoice]);
}
