import * as tf from '@tensorflow/tfjs-core';
import { adamWUpdate } from '@therapeutic-moe/kernels';
import { dims, filledVariable } from '@therapeutic-moe/nn';
import { refuseStranger } from './expert-pool.js';
import type { ExpertPass, Experts } from './experts.js';
import { stackedParameters } from './stacked-parameters.js';

/** One expert of a layer. */
export interface ExpertOf {
  readonly experts: Experts;
  readonly expert: number;
}

/** How long and how fast a student learns. */
export interface DistillOptions {
  readonly steps: number;
  readonly learningRate: number;
  /** For experts that look along a sequence: how the rows lie. */
  readonly pass?: ExpertPass;
}

/** A student layer after distillation. */
export interface Distilled {
  /** The student's layer, in which only the one expert has changed. Caller disposes. */
  readonly experts: Experts;
  /** The loss before each step. */
  readonly losses: readonly number[];
}

/**
 * Mean squared difference between an expert's outputs and what they should be (distillation on outputs,
 * arXiv:1503.02531), with gradients to the expert and the hidden states.
 *
 * @param hidden `[tokens, hidden]`. @param target `[tokens, hidden]`, a teacher's outputs.
 * @returns a scalar. Caller disposes.
 */
export function distillationLoss(
  { experts, expert }: ExpertOf,
  hidden: tf.Tensor2D,
  target: tf.Tensor2D,
  pass?: ExpertPass,
): tf.Scalar {
  const { tokens } = dims('distillationLoss: hidden', hidden, ['tokens', 'hidden'], { hidden: experts.hidden });
  dims('distillationLoss: target', target, ['tokens', 'hidden'], { tokens, hidden: experts.hidden });
  return tf.tidy(() => tf.mean(tf.square(tf.sub(run({ experts, expert }, hidden, pass), target))) as tf.Scalar);
}

/**
 * Trains one expert on another's outputs, by AdamW on all rows at every step. The two may be of different kinds and
 * sizes inside; parameters that the student shares with its neighbours stay as they are, and so do the neighbours.
 *
 * @param hidden `[tokens, hidden]`, hidden states that reach this layer; stays the caller's.
 * @throws when an expert is not there, hidden sizes differ, a setting is not positive, or a loss is not finite.
 */
export async function distillExpert(
  student: ExpertOf,
  teacher: ExpertOf,
  hidden: tf.Tensor2D,
  { steps, learningRate, pass }: DistillOptions,
): Promise<Distilled> {
  refuseStranger('distillExpert: student', student.expert, student.experts.experts);
  refuseStranger('distillExpert: teacher', teacher.expert, teacher.experts.experts);
  dims('distillExpert: hidden', hidden, ['tokens', 'hidden'], { hidden: student.experts.hidden });
  if (teacher.experts.hidden !== student.experts.hidden) {
    throw new Error(
      `distillExpert: the teacher's hidden size is ${teacher.experts.hidden}, the student's ${student.experts.hidden}; both must read the same rows.`,
    );
  }
  if (!Number.isInteger(steps) || steps < 1) throw new Error(`distillExpert: steps must be 1 or more, got ${steps}.`);
  if (!(learningRate > 0)) throw new Error(`distillExpert: learningRate must be above 0, got ${learningRate}.`);
  const learner = { experts: student.experts.rebuild(tf.clone), expert: student.expert };
  const target = run(teacher, hidden, pass);
  const losses = descend(learner.experts, steps, learningRate, () => distillationLoss(learner, hidden, target, pass));
  target.dispose();
  const numbers = [...(await losses.data())];
  losses.dispose();
  const lost = numbers.findIndex((loss) => !Number.isFinite(loss));
  if (lost >= 0) {
    learner.experts.dispose();
    throw new Error(
      `distillExpert: the loss before step ${lost + 1} is ${numbers[lost]}; lower learningRate or check hidden.`,
    );
  }
  return { experts: learner.experts, losses: numbers };
}

function run({ experts, expert }: ExpertOf, hidden: tf.Tensor2D, pass?: ExpertPass): tf.Tensor2D {
  return tf.tidy(() => experts.applyExpert(hidden, expert, tf.ones([hidden.shape[0]]), pass));
}

/** AdamW on the stacked parameters; an expert without a gradient keeps its bits. @returns `[steps]`. Caller disposes. */
function descend(experts: Experts, steps: number, learningRate: number, loss: () => tf.Scalar): tf.Tensor1D {
  const parameters = [...stackedParameters(experts).values()];
  const moments = parameters.map(({ shape }) => [filledVariable(shape, 0), filledVariable(shape, 0)] as const);
  const losses: tf.Scalar[] = [];
  for (let step = 1; step <= steps; step++) {
    const { value, grads } = tf.variableGrads(loss, parameters);
    for (const [i, parameter] of parameters.entries()) {
      adamWUpdate(parameter, grads[parameter.name]!, ...moments[i]!, { ...ADAM, learningRate, step });
    }
    losses.push(value);
    tf.dispose(grads);
  }
  const all = tf.stack(losses) as tf.Tensor1D;
  tf.dispose([losses, ...moments.flat()]);
  return all;
}

const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, gradientScale: 1 };
