import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { isOnlyOwner } from './is-only-owner.js';

/** One step's settings of `adamWUpdate`. */
export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled: the parameter shrinks by `learningRate * weightDecay`. */
  readonly weightDecay: number;
  /** Number of this step, from 1; sets the bias corrections. */
  readonly step: number;
  /** Factor on the gradient, applied first: clipping and averaging cost no extra pass. */
  readonly gradientScale: number;
}

/**
 * One AdamW step (arXiv:1711.05101, algorithm 2) of one parameter. The parameter and both moments are updated in place;
 * on wasm this is a single pass over memory.
 *
 * @param gradient the parameter's shape; stays the caller's.
 * @throws when shapes differ or `step` is below 1.
 */
export function adamWUpdate(
  parameter: tf.Variable,
  gradient: tf.Tensor,
  firstMoment: tf.Variable,
  secondMoment: tf.Variable,
  options: AdamWOptions,
): void {
  for (const [name, t] of [
    ['gradient', gradient],
    ['firstMoment', firstMoment],
    ['secondMoment', secondMoment],
  ] as const) {
    if (t.shape.join() !== parameter.shape.join()) {
      throw new Error(`adamWUpdate: ${name} must be [${parameter.shape}] like its parameter, got [${t.shape}].`);
    }
  }
  if (!(options.step >= 1))
    throw new Error(`adamWUpdate: step must be 1 or more, got ${options.step}; steps count from 1.`);
  const owned = [parameter, firstMoment, secondMoment].every(isOnlyOwner);
  if (!owned || !hasFusedKernel('AdamW')) {
    adamWUpdateReference(parameter, gradient, firstMoment, secondMoment, options);
    return;
  }
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale } = options;
  runFusedKernel<tf.Tensor[]>(
    'AdamW',
    { parameter, gradient, firstMoment, secondMoment },
    {
      rate: learningRate / (1 - beta1 ** step),
      beta1,
      beta2,
      epsilon,
      decay: 1 - learningRate * weightDecay,
      inverseRoot: 1 / Math.sqrt(1 - beta2 ** step),
      gradientScale,
    },
  );
}

/** The plain form of `adamWUpdate`. Same arguments and result. */
export function adamWUpdateReference(
  parameter: tf.Variable,
  gradient: tf.Tensor,
  firstMoment: tf.Variable,
  secondMoment: tf.Variable,
  { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale }: AdamWOptions,
): void {
  tf.tidy(() => {
    const g = tf.mul(gradient, gradientScale);
    const m = tf.add(tf.mul(firstMoment, beta1), tf.mul(g, 1 - beta1));
    const v = tf.add(tf.mul(secondMoment, beta2), tf.mul(tf.square(g), 1 - beta2));
    const denominator = tf.add(tf.mul(tf.sqrt(v), 1 / Math.sqrt(1 - beta2 ** step)), epsilon);
    const moved = tf.div(tf.mul(m, learningRate / (1 - beta1 ** step)), denominator);
    firstMoment.assign(m);
    secondMoment.assign(v);
    parameter.assign(tf.sub(tf.mul(parameter, 1 - learningRate * weightDecay), moved));
  });
}

/**
 * Sum of squares over all elements of all tensors, as one number per tensor without reading anything back.
 *
 * @returns `[tensors.length]`. Caller disposes.
 */
export function sumOfSquares(tensors: readonly tf.Tensor[]): tf.Tensor1D {
  return tf.tidy(() => {
    const sums = tensors.map((t) =>
      hasFusedKernel('SumOfSquares') ? runFusedKernel<tf.Tensor>('SumOfSquares', { x: t }) : tf.sum(tf.square(t)),
    );
    return tf.stack(sums) as tf.Tensor1D;
  });
}
