import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { toyDocuments, toyTrainable } from '../test/toy-trainable.js';
import {
  computeStepGradients,
  cosineSchedule,
  fixedBatches,
  latestTrainCheckpoint,
  packedEvaluation,
  packedText,
  type Trainable,
  type TrainBatch,
  type TrainOptions,
  train,
} from './index.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trainer-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const source = () =>
  packedText(toyDocuments(), { batch: 3, seq: 5, eosTokenId: 0, seed: 11, domainWeights: { 0: 0.7, 1: 0.3 } });

const options = (trainable: Trainable, more: Partial<TrainOptions> = {}): TrainOptions => ({
  trainable,
  data: source(),
  steps: 10,
  schedule: cosineSchedule({ steps: 10, warmupSteps: 3, learningRate: 0.05 }),
  seed: 7,
  output: join(folder, 'run'),
  accumulationSteps: 2,
  ...more,
});

async function weightsHash(trainable: Trainable): Promise<string> {
  const hash = createHash('sha256');
  for (const [name, variable] of trainable.parameters())
    hash.update(name).update(Buffer.from((await variable.data()).slice().buffer));
  return hash.digest('hex');
}

/** A toy whose loss is scaled by a buffer that moves after each step. */
function buffered(): ReturnType<typeof toyTrainable> {
  const toy = toyTrainable();
  const bias = tf.tidy(() => tf.variable(tf.zeros([2]), false));
  return {
    ...toy,
    buffers: () => new Map([['bias', bias]]),
    loss: (batch, step) => {
      const { total, metrics } = toy.loss(batch, step);
      return { total: tf.mul(total, tf.add(1, tf.sum(bias))) as tf.Scalar, metrics };
    },
    afterStep: ({ expertLoad, routingEntropy }) =>
      tf.tidy(() => bias.assign(tf.add(bias, tf.mul(tf.tensor1d([...expertLoad!]), 0.1 * routingEntropy![0]!)))),
    dispose: () => {
      toy.dispose();
      bias.dispose();
    },
  };
}

async function finalHash(more: Partial<TrainOptions>, make = toyTrainable): Promise<string> {
  const trainable = make();
  await train(options(trainable, more));
  const hash = await weightsHash(trainable);
  trainable.dispose();
  return hash;
}

/** Aborts once the step has been taken. */
function stopAfter(step: number): Partial<TrainOptions> {
  const controller = new AbortController();
  const schedule = cosineSchedule({ steps: 10, warmupSteps: 3, learningRate: 0.05 });
  return {
    signal: controller.signal,
    schedule: (at) => {
      if (at === step) controller.abort();
      return schedule(at);
    },
  };
}

const readLines = async (name: string) =>
  (await readFile(join(folder, 'run', name), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** One batch cut into its rows. */
const rowsOf = ({ batch, seq, ids, targets, mask, domains }: TrainBatch): TrainBatch[] =>
  Array.from({ length: batch }, (_, row) => {
    const cut = <T extends Int32Array | Uint8Array>(values: T) => values.slice(row * seq, (row + 1) * seq) as T;
    return { batch: 1, seq, ids: cut(ids), targets: cut(targets), mask: cut(mask), domains: cut(domains) };
  });

describeOnBackends('train', () => {
  it('gives the same weights when stopped after 5 of 10 steps and resumed', async () => {
    const whole = await finalHash({ output: join(folder, 'whole') });
    const first = toyTrainable();
    const stopped = await train(options(first, stopAfter(5)));
    expect(stopped).toMatchObject({ step: 5, reason: 'stopped' });
    first.dispose();
    expect(await finalHash({ resume: true })).toBe(whole);
    expect((await readLines('train.jsonl')).map((line) => line.step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('gives the same weights when killed at step 7 with a checkpoint at step 5 and debris around', async () => {
    const whole = await finalHash({ output: join(folder, 'whole') });
    const first = toyTrainable();
    await train(options(first, { ...stopAfter(7), checkpoint: { everySteps: 5, keep: 3 } }));
    first.dispose();
    const checkpoints = join(folder, 'run', 'checkpoints');
    await truncate(join(checkpoints, 'step-00000007', 'parameters.safetensors'), 40);
    await mkdir(join(checkpoints, '.step-00000008.0badcafe.tmp'));
    await mkdir(join(checkpoints, 'step-00000009'));
    await writeFile(join(checkpoints, 'step-00000009', 'state.json'), '{"form');
    expect(await latestTrainCheckpoint(checkpoints)).toBe(join(checkpoints, 'step-00000005'));
    expect(await finalHash({ resume: true })).toBe(whole);
  });

  it('saves buffers, and a resumed run moves them as the whole one does', async () => {
    const whole = await finalHash({ output: join(folder, 'whole') }, buffered);
    expect(whole).not.toBe(await finalHash({ output: join(folder, 'plain') }));
    const first = buffered();
    await train(options(first, stopAfter(5)));
    const moved = await first.buffers!().get('bias')!.data();
    expect(moved[0]).toBeCloseTo(5 * 0.25 * 0.05, 6);
    first.dispose();
    expect(await finalHash({ resume: true }, buffered)).toBe(whole);
  });

  it("refuses a step in the trainable's own words before anything is updated", async () => {
    const toy = toyTrainable();
    const before = await weightsHash(toy);
    const refusing: Trainable = {
      ...toy,
      checkMetrics: ({ routingEntropy }) => {
        throw new Error(`the entropy is ${routingEntropy![0]}.`);
      },
    };
    await expect(train(options(refusing))).rejects.toThrow('train: step 1: the entropy is 0.5. Nothing was updated.');
    expect(await weightsHash(toy)).toBe(before);
    toy.dispose();
  });

  it('does not resume from a file that changed without changing size', async () => {
    const first = toyTrainable();
    await train(options(first, stopAfter(5)));
    first.dispose();
    const file = join(folder, 'run', 'checkpoints', 'step-00000005', 'second-moments.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 1] ^= 1;
    await writeFile(file, bytes);
    await expect(finalHash({ resume: true })).rejects.toThrow('second-moments.safetensors has SHA-256');
  });

  it('learns, logs every step and holds the number of tensors constant', async () => {
    const trainable = toyTrainable();
    const before = tf.memory().numTensors;
    const evaluation = {
      sets: { held: packedEvaluation(toyDocuments(4), { batch: 2, seq: 5, eosTokenId: 0 }) },
      everySteps: 4,
    };
    const result = await train(options(trainable, { steps: 10, evaluation }));
    expect(tf.memory().numTensors).toBe(before);
    const lines = await readLines('train.jsonl');
    expect(new Set(lines.map((line) => line.numTensors)).size).toBe(1);
    expect(lines[9].crossEntropy).toBeLessThan(lines[0].crossEntropy - 0.1);
    expect(lines[0]).toMatchObject({
      step: 1,
      tokens: 30,
      expertLoad: [0.25, 0.75],
      routingEntropy: 0.5,
      balance: null,
    });
    expect(lines[0].learningRate).toBeCloseTo(0.05 / 3);
    expect((await readLines('evaluations.jsonl')).map((line) => `${line.step} ${line.set}`)).toEqual([
      '4 held',
      '4 all',
      '8 held',
      '8 all',
      '10 held',
      '10 all',
    ]);
    expect(result.best).toMatchObject({ step: 10 });
    trainable.dispose();
  });

  it('sums micro-batches to the gradient of one big batch, a partial last window included', async () => {
    const trainable = toyTrainable();
    const [big] = packedEvaluation(toyDocuments(3), { batch: 7, seq: 5, eosTokenId: 0 }).batches;
    const parts = fixedBatches(rowsOf(big));
    const at = { seed: 1, where: 'step 1' };
    const whole = await computeStepGradients(trainable, [big], at);
    const cut = await computeStepGradients(trainable, parts.nextStep(big.batch + 2), at);
    expect(parts.nextStep(4)).toEqual([]);
    expect(cut.metrics.loss).toBeCloseTo(whole.metrics.loss, 6);
    expect(cut.metrics.gradientNorm).toBeCloseTo(whole.metrics.gradientNorm, 6);
    for (const [path, gradient] of whole.gradients) {
      const worst = tf.tidy(() => tf.max(tf.abs(tf.sub(gradient, cut.gradients.get(path) as tf.Tensor))));
      expect((await worst.data())[0], path).toBeLessThan(1e-7);
      worst.dispose();
    }
    tf.dispose([...whole.gradients.values(), ...cut.gradients.values()]);
    trainable.dispose();
  });

  it('counts the last window of a finite source in full', async () => {
    const trainable = toyTrainable();
    const batches = rowsOf(packedEvaluation(toyDocuments(3), { batch: 7, seq: 5, eosTokenId: 0 }).batches[0]).slice(
      0,
      3,
    );
    const result = await train(options(trainable, { data: fixedBatches(batches), accumulationSteps: 2 }));
    expect(result).toMatchObject({ step: 2, reason: 'data used up', tokens: 15 });
    trainable.dispose();
  });

  it('refuses a gradient that is not finite by step and parameter, and changes nothing', async () => {
    const trainable = toyTrainable();
    const hash = await weightsHash(trainable);
    const before = tf.memory().numTensors;
    const sick: Trainable = {
      parameters: () => trainable.parameters(),
      loss(batch, step) {
        const { total, metrics } = trainable.loss(batch, step);
        const scale = trainable.parameters().get('scale') as tf.Variable;
        return { total: tf.add(total, tf.mul(0, tf.sum(tf.sqrt(tf.sub(scale, scale))))) as tf.Scalar, metrics };
      },
    };
    await expect(train(options(sick))).rejects.toThrow(
      'train: step 1: the gradient of scale is not finite. Nothing was updated',
    );
    expect(await weightsHash(trainable)).toBe(hash);
    expect(tf.memory().numTensors).toBe(before);
    expect(await latestTrainCheckpoint(join(folder, 'run', 'checkpoints'))).toBeUndefined();
    trainable.dispose();
  });

  it('refuses a parameter that the loss does not depend on', async () => {
    const trainable = toyTrainable();
    const lonely = tf.tidy(() => tf.variable(tf.ones([2, 3])));
    const before = tf.memory().numTensors;
    const parameters = new Map([...trainable.parameters(), ['lonely', lonely]]);
    await expect(train(options({ ...trainable, parameters: () => parameters }))).rejects.toThrow(
      'step 1: the loss does not depend on lonely',
    );
    expect(tf.memory().numTensors).toBe(before);
    lonely.dispose();
    trainable.dispose();
  });

  it('stops when evaluation stops gaining and names the best step', async () => {
    const trainable = toyTrainable();
    const evaluation = {
      sets: { held: packedEvaluation(toyDocuments(4), { batch: 2, seq: 5, eosTokenId: 0 }) },
      everySteps: 1,
      patience: 2,
    };
    const result = await train(options(trainable, { evaluation, schedule: (step) => (step < 4 ? 0.01 : -0.05) }));
    expect(result).toMatchObject({ reason: 'no gain', step: 5 });
    expect(result.best?.step).toBe(3);
    expect(result.best?.path).toMatch(/best-00000003$/);
    trainable.dispose();
  });

  it('stops before the time limit, saved', async () => {
    const trainable = toyTrainable();
    const result = await train(options(trainable, { maxMinutes: 1 / 600, saveMarginSeconds: 0.09 }));
    expect(result.reason).toBe('time limit');
    expect(result.step).toBeLessThan(10);
    expect(await latestTrainCheckpoint(join(folder, 'run', 'checkpoints'))).toBe(result.checkpoint);
    trainable.dispose();
  });

  it('refuses to overwrite a run, to resume nothing and to resume with other settings', async () => {
    const trainable = toyTrainable();
    await expect(train(options(trainable, { resume: true }))).rejects.toThrow('there is no whole checkpoint in');
    await train(options(trainable, { ...stopAfter(2), settings: { learningRate: 0.05 } }));
    await expect(train(options(trainable))).rejects.toThrow('already holds a run');
    await expect(train(options(trainable, { resume: true, settings: { learningRate: 0.1 } }))).rejects.toThrow(
      'train: learningRate was 0.05 when the run was started and is 0.1 now.',
    );
    trainable.dispose();
  });
});
