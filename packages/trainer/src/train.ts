import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { AdamW, type AdamWSettings } from './adam-w.js';
import type { DataSource } from './data-source.js';
import { combineResults, type EvaluationResult, evaluate } from './evaluate.js';
import type { EvaluationSet } from './packed-text.js';
import { createProgress, type Logger } from './progress.js';
import { mixSeeds } from './random.js';
import type { Schedule } from './schedule.js';
import { computeStepGradients, type StepMetrics } from './step-gradients.js';
import {
  type BestEvaluation,
  latestTrainCheckpoint,
  listTrainCheckpoints,
  pruneTrainCheckpoints,
  readTrainState,
  restoreTensors,
  saveTrainCheckpoint,
  type TensorGroups,
  type TrainState,
} from './train-checkpoint.js';
import { openJsonLines, type StepRecord } from './train-log.js';
import type { Trainable } from './trainable.js';

/** A training run. */
export interface TrainOptions {
  readonly trainable: Trainable;
  readonly data: DataSource;
  /** Optimiser steps of the whole run. */
  readonly steps: number;
  readonly schedule: Schedule;
  readonly seed: number;
  /** Folder of `train.jsonl`, `evaluations.jsonl` and `checkpoints/`. */
  readonly output: string;
  /** Micro-batches per step. Default 1. */
  readonly accumulationSteps?: number;
  /** The whole gradient is scaled down to this global norm. Default 1; 0 turns clipping off. */
  readonly maxGradientNorm?: number;
  readonly adamW?: AdamWSettings;
  /** Absent: the model is never scored, and there is no best checkpoint. */
  readonly evaluation?: {
    /** By name, such as one per domain; the mean over all their tokens decides what is best. */
    readonly sets: Readonly<Record<string, EvaluationSet>>;
    readonly everySteps: number;
    /** Stop after this many evaluations in a row without a better score. Absent: never. */
    readonly patience?: number;
  };
  readonly checkpoint?: {
    readonly everySteps?: number;
    readonly everyMinutes?: number;
    /** How many to keep. Default 2. */
    readonly keep?: number;
  };
  /** Stop, saved, before this many minutes of this session have passed. */
  readonly maxMinutes?: number;
  /** Time kept free for the last save within `maxMinutes`. Default 30. */
  readonly saveMarginSeconds?: number;
  /** Go on from the newest checkpoint in `output`. Refused when there is none. */
  readonly resume?: boolean;
  /** Settings that a resumed run must share; stored with every checkpoint. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Aborting saves and stops. */
  readonly signal?: AbortSignal;
  readonly logger?: Logger;
  /** Steps between lines where there is no terminal. Default 10. */
  readonly logEverySteps?: number;
}

/** How a run ended. */
export interface TrainResult {
  /** Steps done. */
  readonly step: number;
  readonly reason: 'finished' | 'data used up' | 'no gain' | 'time limit' | 'stopped';
  readonly best?: BestEvaluation & { readonly path: string };
  /** The checkpoint to resume from. */
  readonly checkpoint: string;
  readonly tokens: number;
  readonly elapsedSeconds: number;
}

const silent: Logger = { info: () => undefined, warn: () => undefined };

/**
 * Trains until the steps are done, the data ends, evaluation stops gaining, time is up or the signal aborts; saves in
 * every case. A resumed run repeats the uninterrupted one bit for bit on the same backend.
 *
 * @throws when a loss or gradient is not finite (nothing is updated or saved then), or a checkpoint does not belong to this run.
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { trainable, data, steps, output, evaluation, signal, logger = silent } = options;
  checkOptions(options);
  const optimizer = new AdamW(trainable.parameters(), options.adamW);
  try {
    const tensors = {
      parameters: trainable.parameters(),
      'first-moments': optimizer.firstMoments,
      'second-moments': optimizer.secondMoments,
      ...buffersOf(trainable),
    };
    const start = await startState(options, tensors);
    const run = { ...start };
    const folder = join(output, 'checkpoints');
    const log = await openJsonLines(join(output, 'train.jsonl'), run.step);
    const evaluations = await openJsonLines(join(output, 'evaluations.jsonl'), run.step);
    const progress = createProgress({ steps, done: run.step, logger, everySteps: options.logEverySteps ?? 10 });
    const clock = createClock(options);
    let saved = start.step > 0 ? await latestTrainCheckpoint(folder) : undefined;
    let savedStep = start.step > 0 ? start.step : -1;
    const save = async () => {
      if (savedStep === run.step) return;
      saved = await saveTrainCheckpoint(
        folder,
        'step',
        { ...run, elapsedSeconds: start.elapsedSeconds + clock.seconds(), data: data.state() },
        tensors,
      );
      savedStep = run.step;
      await pruneTrainCheckpoints(folder, 'step', options.checkpoint?.keep ?? 2);
      clock.markSave();
    };

    let reason: TrainResult['reason'] = 'finished';
    try {
      while (run.step < steps) {
        // On wasm a read-back resolves without leaving the microtask queue; signals and timers get their turn here.
        await new Promise((resolve) => setImmediate(resolve));
        if (signal?.aborted) reason = 'stopped';
        else if (clock.isTimeUp()) reason = 'time limit';
        if (reason !== 'finished') break;
        const began = performance.now();
        const batches = data.nextStep(options.accumulationSteps ?? 1);
        if (batches.length === 0) {
          reason = 'data used up';
          break;
        }
        const step = run.step + 1;
        const learningRate = options.schedule(step);
        const { gradients, metrics } = await computeStepGradients(trainable, batches, {
          seed: mixSeeds(options.seed, step),
          where: `step ${step}`,
        });
        if (run.step === start.step) expectConnected(trainable, gradients, step);
        const scale = clipScale(metrics.gradientNorm, options.maxGradientNorm ?? 1);
        optimizer.update(gradients, step, learningRate, scale);
        tf.dispose([...gradients.values()]);
        trainable.afterStep?.(metrics.others);
        run.step = step;
        run.tokens += metrics.tokens;
        const seconds = (performance.now() - began) / 1000;
        clock.markStep();
        const record = toRecord(metrics, {
          step,
          learningRate,
          seconds,
          elapsed: start.elapsedSeconds + clock.seconds(),
        });
        log.append(record);
        progress.step(record);
        if (evaluation && (step % evaluation.everySteps === 0 || step === steps)) {
          const results = await scoreAll(trainable, evaluation.sets);
          for (const [set, result] of Object.entries(results)) evaluations.append({ step, set, ...result });
          const { nats, bitsPerByte } = results.all;
          const better = run.best === undefined || nats < run.best.nats;
          run.evaluationsWithoutGain = better ? 0 : run.evaluationsWithoutGain + 1;
          if (better) {
            run.best = { step, bitsPerByte, nats };
            await saveTrainCheckpoint(
              folder,
              'best',
              { ...run, data: data.state() },
              { parameters: trainable.parameters(), ...buffersOf(trainable) },
            );
            await pruneTrainCheckpoints(folder, 'best', 1);
          }
          logger.info(`step ${step}: validation ${describe(results.all)}${better ? ', best so far' : ''}`);
          if (evaluation.patience !== undefined && run.evaluationsWithoutGain >= evaluation.patience) {
            reason = 'no gain';
            break;
          }
        }
        if (clock.isSaveDue(step)) await save();
      }
    } finally {
      progress.stop();
    }
    await save();
    return {
      step: run.step,
      reason,
      best: await findBest(folder, run.best),
      checkpoint: saved as string,
      tokens: run.tokens,
      elapsedSeconds: start.elapsedSeconds + clock.seconds(),
    };
  } finally {
    optimizer.dispose();
  }
}

/** The group of a trainable's buffers, where it has any. */
function buffersOf(trainable: Trainable): TensorGroups {
  const buffers = trainable.buffers?.();
  return buffers && buffers.size > 0 ? { buffers } : {};
}

type RunState = { -readonly [Key in keyof TrainState]: TrainState[Key] };

function checkOptions({ steps, accumulationSteps = 1, evaluation, maxGradientNorm = 1 }: TrainOptions): void {
  for (const [name, value] of Object.entries({
    steps,
    accumulationSteps,
    'evaluation.everySteps': evaluation?.everySteps ?? 1,
    'evaluation.patience': evaluation?.patience ?? 1,
  })) {
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`train: ${name} must be a whole number of at least 1, got ${value}.`);
  }
  if (!(maxGradientNorm >= 0))
    throw new Error(`train: maxGradientNorm must be 0 (off) or positive, got ${maxGradientNorm}.`);
  if (evaluation && Object.keys(evaluation.sets).length === 0)
    throw new Error('train: evaluation.sets is empty; leave evaluation out to train without scoring.');
}

/**
 * The checkpoint that a run in this output folder goes on from; none for a new run.
 *
 * @throws when a new run would write over an old one, or there is nothing to resume.
 */
export async function findResumePoint(output: string, resume = false): Promise<string | undefined> {
  const folder = join(output, 'checkpoints');
  const latest = await latestTrainCheckpoint(folder);
  if (!resume && latest)
    throw new Error(`train: ${output} already holds a run (${latest}). Resume it, or name another output folder.`);
  if (resume && !latest)
    throw new Error(`train: there is no whole checkpoint in ${folder} to resume from. Start without resume.`);
  return latest;
}

/** The state a run starts with: zero, or the newest checkpoint's, whose tensors and data position are put back. */
async function startState(
  { resume, output, data, settings = {} }: TrainOptions,
  tensors: TensorGroups,
): Promise<RunState> {
  const latest = await findResumePoint(output, resume);
  if (!latest) {
    return { step: 0, tokens: 0, elapsedSeconds: 0, data: data.state(), evaluationsWithoutGain: 0, settings };
  }
  const state = await readTrainState(latest);
  for (const key of new Set([...Object.keys(state.settings), ...Object.keys(settings)])) {
    const [before, now] = [state.settings[key], settings[key]].map((value) => JSON.stringify(value));
    if (before !== now)
      throw new Error(
        `train: ${key} was ${before} when the run was started and is ${now} now. Resume with the same settings, or name another output folder.`,
      );
  }
  await restoreTensors(latest, tensors);
  data.restore(state.data);
  return {
    step: state.step,
    tokens: state.tokens,
    elapsedSeconds: state.elapsedSeconds,
    data: state.data,
    best: state.best,
    evaluationsWithoutGain: state.evaluationsWithoutGain,
    settings,
  };
}

function createClock({ maxMinutes, saveMarginSeconds = 30, checkpoint }: TrainOptions) {
  const began = performance.now();
  let lastSave = began;
  let lastStep = began;
  let longestStep = 0;
  return {
    seconds: () => (performance.now() - began) / 1000,
    markSave: () => {
      lastSave = performance.now();
      lastStep = lastSave;
    },
    markStep: () => {
      const now = performance.now();
      longestStep = Math.max(longestStep, now - lastStep);
      lastStep = now;
    },
    /** True when another step as long as the longest would run into the margin for the last save. */
    isTimeUp: () =>
      maxMinutes !== undefined &&
      performance.now() - began + longestStep + saveMarginSeconds * 1000 >= maxMinutes * 60_000,
    isSaveDue: (step: number) =>
      (checkpoint?.everySteps !== undefined && step % checkpoint.everySteps === 0) ||
      (checkpoint?.everyMinutes !== undefined && performance.now() - lastSave >= checkpoint.everyMinutes * 60_000),
  };
}

/** The factor that brings a gradient of this norm down to `limit`; 1 below it or when clipping is off. */
export function clipScale(norm: number, limit: number): number {
  return limit > 0 && norm > limit ? limit / norm : 1;
}

function expectConnected(trainable: Trainable, gradients: ReadonlyMap<string, tf.Tensor>, step: number): void {
  const missing = [...trainable.parameters().keys()].filter((path) => !gradients.has(path));
  if (missing.length === 0) return;
  tf.dispose([...gradients.values()]);
  throw new Error(
    `train: step ${step}: the loss does not depend on ${missing.slice(0, 5).join(', ')}. Leave them out of parameters(), or connect them.`,
  );
}

function toRecord(
  metrics: StepMetrics,
  at: { step: number; learningRate: number; seconds: number; elapsed: number },
): StepRecord {
  const { balance, z, domain, expertLoad, routingEntropy, gateMeanByLayer: _, ...rest } = metrics.others;
  const { expertLoadByLayer, ...others } = rest;
  return {
    step: at.step,
    loss: metrics.loss,
    crossEntropy: metrics.crossEntropy,
    balance: balance?.[0] ?? null,
    z: z?.[0] ?? null,
    domain: domain?.[0] ?? null,
    learningRate: at.learningRate,
    gradientNorm: metrics.gradientNorm,
    tokens: metrics.tokens,
    tokensPerSecond: metrics.processedTokens / at.seconds,
    expertLoad: expertLoad ?? null,
    routingEntropy: routingEntropy?.[0] ?? null,
    elapsed: at.elapsed,
    numTensors: tf.memory().numTensors,
    ...Object.fromEntries(
      Object.entries(others).map(([name, values]) => {
        const isList = values.length > 1 || name.endsWith('ByLayer');
        return [name, isList ? values : values[0]];
      }),
    ),
    ...(expertLoadByLayer && expertLoad && { expertLoadByLayer: intoRows(expertLoadByLayer, expertLoad.length) }),
  };
}

function intoRows(values: readonly number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
}

/** Scores every set; the result over all of them is called `all` and comes last. */
async function scoreAll(
  trainable: Trainable,
  sets: Readonly<Record<string, EvaluationSet>>,
): Promise<Record<string, EvaluationResult>> {
  const results: Record<string, EvaluationResult> = {};
  for (const [name, set] of Object.entries(sets)) results[name] = await evaluate(trainable, set);
  return { ...results, all: combineResults(Object.values(results)) };
}

function describe({ nats, bitsPerByte, perplexity }: EvaluationResult): string {
  return `${nats.toFixed(4)} nats/token, perplexity ${perplexity.toFixed(2)}, ${bitsPerByte.toFixed(4)} bits/byte`;
}

/** The best checkpoint on disk: the run's own, or one that a killed session of this run got further with. */
async function findBest(folder: string, best: BestEvaluation | undefined): Promise<TrainResult['best']> {
  const found = (await listTrainCheckpoints(folder, 'best')).at(-1);
  if (!found || !best) return undefined;
  const state = await readTrainState(found.path);
  return { ...(state.best ?? best), path: found.path };
}
