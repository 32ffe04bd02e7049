import * as tf from '@tensorflow/tfjs-core';
import { sumOfSquares } from '@therapeutic-moe/kernels';
import { mixSeeds } from './random.js';
import { countTargets, type ReadMetrics, type Trainable, type TrainBatch } from './trainable.js';

/** The metrics of a step, read back. */
export interface StepMetrics {
  /** The quantity that was differentiated: mean cross-entropy plus auxiliary terms. */
  readonly loss: number;
  /** Nats per counted token. */
  readonly crossEntropy: number;
  /** Every other metric, averaged over the micro-batches by their counted tokens; vectors keep their length. */
  readonly others: Readonly<Record<string, readonly number[]>>;
  /** Global norm of the whole step's gradient, before clipping. */
  readonly gradientNorm: number;
  /** Counted tokens. */
  readonly tokens: number;
  /** All real tokens, prompts included. */
  readonly processedTokens: number;
}

/** Gradients of one step and what it measured. The gradients belong to the caller. */
export interface StepGradients {
  readonly gradients: ReadonlyMap<string, tf.Tensor>;
  readonly metrics: StepMetrics;
}

/**
 * Gradients of a step, summed over its micro-batches: equal to one big batch's because each loss is divided by the
 * step's counted tokens, however many micro-batches the step has. Metrics and the squared norm of every gradient come
 * back in one transfer.
 *
 * @param where named in errors, such as `step 12`.
 * @throws when no token counts, or the loss or a gradient is not finite; then everything is disposed and nothing changed.
 */
export async function computeStepGradients(
  trainable: Trainable,
  batches: readonly TrainBatch[],
  { seed, where }: { seed: number; where: string },
): Promise<StepGradients> {
  const parameters = trainable.parameters();
  const names = new Map([...parameters].map(([path, parameter]) => [parameter.name, path]));
  const counted = batches.map(countTargets);
  const tokensInStep = counted.reduce((a, b) => a + b, 0);
  if (tokensInStep === 0)
    throw new Error(`train: ${where} has no counted tokens in its ${batches.length} batches; every target is -100.`);

  const gradients = new Map<string, tf.Tensor>();
  const measured: { total: tf.Tensor; metrics: Record<string, tf.Tensor> }[] = [];
  const disposeAll = () =>
    tf.dispose([
      ...gradients.values(),
      ...measured.flatMap(({ total, metrics }) => [total, ...Object.values(metrics)]),
    ]);
  try {
    batches.forEach((batch, i) => {
      let metrics: Record<string, tf.Tensor> = {};
      const { value, grads } = tf.variableGrads(() => {
        const terms = trainable.loss(batch, { tokensInStep, seed: mixSeeds(seed, i) });
        metrics = { ...terms.metrics };
        for (const metric of Object.values(metrics)) tf.keep(metric);
        return terms.total;
      }, [...parameters.values()]);
      measured.push({ total: value, metrics });
      addGradients(gradients, grads, names);
    });
    const paths = [...gradients.keys()];
    const squares = sumOfSquares([...gradients.values()]);
    const metricNames = Object.keys(measured[0].metrics);
    const packed = tf.tidy(() =>
      tf.concat1d([
        ...measured
          .flatMap(({ total, metrics }) => [total, ...metricNames.map((name) => metrics[name])])
          .map((t) => tf.reshape(t, [-1]) as tf.Tensor1D),
        squares,
      ]),
    );
    squares.dispose();
    const values = (await packed.data()) as Float32Array;
    packed.dispose();
    const sizes = metricNames.map((name) => measured[0].metrics[name].size);
    const check = (read: ReadMetrics) => trainable.checkMetrics?.(read);
    const metrics = readMetrics(values, { metricNames, sizes, counted, tokensInStep, paths, where, check });
    tf.dispose(measured.flatMap(({ total, metrics: own }) => [total, ...Object.values(own)]));
    const processedTokens = batches.reduce((sum, batch) => sum + batch.mask.reduce((a, b) => a + b, 0), 0);
    return { gradients, metrics: { ...metrics, tokens: tokensInStep, processedTokens } };
  } catch (error) {
    disposeAll();
    throw error;
  }
}

function addGradients(sum: Map<string, tf.Tensor>, grads: tf.NamedTensorMap, names: ReadonlyMap<string, string>): void {
  for (const [name, gradient] of Object.entries(grads)) {
    const path = names.get(name) as string;
    const before = sum.get(path);
    sum.set(path, before ? tf.add(before, gradient) : gradient);
    if (before) tf.dispose([before, gradient]);
  }
}

interface Layout {
  metricNames: readonly string[];
  sizes: readonly number[];
  counted: readonly number[];
  tokensInStep: number;
  paths: readonly string[];
  where: string;
  check: (metrics: ReadMetrics) => void;
}

function readMetrics(values: Float32Array, layout: Layout) {
  const { metricNames, sizes, counted, tokensInStep, paths, where, check } = layout;
  let at = 0;
  let loss = 0;
  const sums: Record<string, number[]> = Object.fromEntries(
    metricNames.map((name, i) => [name, Array.from({ length: sizes[i] }, () => 0)]),
  );
  for (const tokens of counted) {
    loss += values[at];
    at += 1;
    metricNames.forEach((name, i) => {
      const share = name === 'crossEntropySum' ? 1 : tokens / tokensInStep;
      for (let j = 0; j < sizes[i]; j += 1) sums[name][j] += values[at + j] * share;
      at += sizes[i];
    });
  }
  const squares = values.subarray(at);
  try {
    check(sums);
  } catch (cause) {
    throw new Error(`train: ${where}: ${(cause as Error).message} Nothing was updated.`, { cause });
  }
  if (!Number.isFinite(loss))
    throw new Error(
      `train: ${where}: the loss is ${loss}. Nothing was updated; lower the learning rate or check the data.`,
    );
  const bad = squares.findIndex((square) => !Number.isFinite(square));
  if (bad >= 0) {
    throw new Error(
      `train: ${where}: the gradient of ${paths[bad]} is not finite. Nothing was updated; lower the learning rate or check the data.`,
    );
  }
  const { crossEntropySum, ...others } = sums;
  if (!crossEntropySum)
    throw new Error("train: the trainable's metrics must hold crossEntropySum, the nats over the counted tokens.");
  return {
    loss,
    crossEntropy: crossEntropySum[0] / tokensInStep,
    others,
    gradientNorm: Math.sqrt(squares.reduce((sum, square) => sum + square, 0)),
  };
}
