import { createHash } from 'node:crypto';
import { appendFile, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { configToHuggingFace, type PresetName, presetGaps, presets, therapeuticDomains } from '@therapeutic-moe/model';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig, trainBpe } from '@therapeutic-moe/tokenizer';
import { resolveTrainConfig } from '@therapeutic-moe/trainer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../load-model.js';
import { runTrain } from './train.js';

let folder: string;
const silent = { info: () => undefined, warn: () => undefined };
const lines = [
  'The tide comes in twice a day.',
  'A calm breath slows the heart.',
  'Waves follow the wind and the moon.',
  'Rest helps the mind to mend.',
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'run-train-'));
  const write = (name: string, rows: readonly unknown[]) =>
    writeFile(join(folder, name), rows.map((row) => JSON.stringify(row)).join('\n'));
  await write(
    'text.jsonl',
    lines.map((text, i) => ({ domain: i % 2 ? 'mental_health' : 'psychology', text })),
  );
  await write(
    'chat.jsonl',
    lines.map((text, i) => ({
      domain: i % 2 ? 'mental_health' : 'psychology',
      messages: [
        { role: 'user', content: 'Say it.' },
        { role: 'assistant', content: text },
      ],
    })),
  );
  await writeFile(
    join(folder, 'tokenizer.json'),
    JSON.stringify(trainBpe(lines, { vocabSize: 270, specialTokens: CHAT_SPECIAL_TOKENS })),
  );
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(chatTokenizerConfig(32)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tiny = {
  hiddenSize: 12,
  intermediateSize: 10,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  numKeyValueHeads: 1,
  headDim: 6,
  maxPositionEmbeddings: 64,
};

const config = (output: string, more: Record<string, unknown> = {}, format: 'text' | 'chat' = 'text') =>
  resolveTrainConfig({
    seed: 5,
    backend: 'wasm',
    output: join(folder, output),
    model: { preset: 'therapeutic', overrides: tiny },
    tokenizer: folder,
    data: {
      format,
      train: [join(folder, `${format}.jsonl`)],
      validation: [join(folder, `${format}.jsonl`)],
      sequenceLength: format === 'text' ? 16 : 64,
      domainWeights: { psychology: 1, mental_health: 1 },
    },
    training: {
      steps: 6,
      batchSize: 2,
      accumulationSteps: 2,
      learningRate: 0.02,
      warmupSteps: 2,
      evaluateEverySteps: 3,
      checkpointEverySteps: 3,
      keepCheckpoints: 5,
    },
    auxiliary: { klBalance: 0.01, zLoss: 0.001, domainSupervision: 0.1 },
    ...more,
  });

/** The therapeutic mixture, balanced by a bias instead of a loss. */
const balanced = {
  numExperts: 4,
  numExpertsPerTok: 2,
  softmaxOrder: 'before-top-k',
  normTopkProb: true,
  scoring: 'sigmoid',
  balanceBias: true,
};

const hashOf = async (path: string) =>
  createHash('sha256')
    .update(await readFile(join(folder, path)))
    .digest('hex');

describe('runTrain', () => {
  it('trains a base model, resumes it to the same bytes, and adapts it with LoRA', async () => {
    const base = await runTrain(config('base'), { logger: silent });
    expect(base.result).toMatchObject({ step: 6, reason: 'finished' });
    const log = (await readFile(join(folder, 'base/train.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(log).toHaveLength(6);
    expect(log[5].crossEntropy).toBeLessThan(log[0].crossEntropy);
    expect(log[0].expertLoad).toHaveLength(4);
    expect(new Set(log.map((line) => line.numTensors)).size).toBe(1);

    const whole = await hashOf('base/model/model.safetensors');
    await rm(join(folder, 'base/checkpoints/step-00000006'), { recursive: true });
    await runTrain(config('base'), { logger: silent, resume: true });
    expect(await hashOf('base/model/model.safetensors')).toBe(whole);

    const before = tf.memory().numTensors;
    const chat = await runTrain(
      config('chat', { model: { from: join(folder, 'base/model') }, lora: { r: 2, loraAlpha: 4 } }, 'chat'),
      { logger: silent },
    );
    expect(tf.memory().numTensors).toBe(before);
    expect(chat.parameters.trainable).toBeLessThan(chat.parameters.total / 4);
    expect(await hashOf('chat/model/model.safetensors')).not.toBe(whole);
    expect(await hashOf('chat/model/tokenizer.json')).toBe(await hashOf('tokenizer.json'));

    const frozen = await runTrain(
      config(
        'frozen',
        { model: { from: join(folder, 'base/model'), weights: 'int8' }, lora: { r: 2, loraAlpha: 4 } },
        'chat',
      ),
      { logger: silent },
    );
    expect(tf.memory().numTensors).toBe(before);
    expect(frozen.parameters).toEqual(chat.parameters);
    expect(frozen.model).toBeUndefined(); // frozen weights have no adapter merged into them
    expect(await hashOf('frozen/adapter/adapter_model.safetensors')).not.toBe(
      await hashOf('chat/adapter/adapter_model.safetensors'),
    );
  });

  it.each([
    ['hierarchical', {}, {}],
    ['constellation', {}, {}],
    ['multi-level', {}, {}],
    ['therapeutic', { mixture: balanced }, { biasUpdateRate: 0.01, sequenceBalance: 0.001, switchBalance: 0.01 }],
  ])(
    'trains %s, says what the preset lacks, resumes it to the same bytes and loads it again',
    async (preset, overrides, auxiliary) => {
      const told: string[] = [];
      const logger = { info: () => undefined, warn: (line: string) => void told.push(line) };
      const run = config(`run-${preset}`, {
        model: { preset, overrides: { ...tiny, hiddenSize: 16, intermediateSize: 20, headDim: 8, ...overrides } },
        auxiliary: { domainSupervision: 0, ...auxiliary },
      });
      await runTrain(run, { logger });
      expect(told.filter((line) => line.startsWith(`preset '${preset}'`))).toHaveLength(
        presetGaps[preset as PresetName] ? 1 : 0,
      );
      const [first] = (await readFile(join(run.output, 'train.jsonl'), 'utf8')).split('\n');
      const { expertLoad, expertLoadByLayer, balanceByLayer } = JSON.parse(first!);
      expect(expertLoadByLayer.map((load: number[]) => load.length)).toEqual([expertLoad.length, expertLoad.length]);
      expect(balanceByLayer).toHaveLength(2);
      const whole = await hashOf(`run-${preset}/model/model.safetensors`);
      await rm(join(run.output, 'checkpoints/step-00000006'), { recursive: true });
      await runTrain(run, { logger: silent, resume: true });
      expect(await hashOf(`run-${preset}/model/model.safetensors`)).toBe(whole);
      const model = await loadModel(join(run.output, 'model'), { backend: 'wasm' });
      const shares = Object.values(await model.routing('The tide comes in.'));
      expect(shares).toHaveLength(expertLoad.length);
      expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
      model.dispose();
    },
  );

  it('does not resume on another tokenizer or base model at the same path', async () => {
    const files = join(folder, 'start');
    const from = join(files, 'model');
    await mkdir(from, { recursive: true });
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      await copyFile(join(folder, name), join(files, name));
    await runTrain(config('first'), { logger: silent });
    for (const name of ['config.json', 'model.safetensors'])
      await copyFile(join(folder, 'first/model', name), join(from, name));
    const second = config('second', { model: { from }, tokenizer: files });
    await runTrain(second, { logger: silent });
    await rm(join(folder, 'second/checkpoints/step-00000006'), { recursive: true });

    const weights = await readFile(join(from, 'model.safetensors'));
    const other = Buffer.from(weights);
    other[other.length - 1] ^= 1;
    await writeFile(join(from, 'model.safetensors'), other);
    await expect(runTrain(second, { logger: silent, resume: true })).rejects.toThrow(
      'train: model.from model.safetensors sha256 was',
    );
    await writeFile(join(from, 'model.safetensors'), weights);
    await appendFile(join(files, 'tokenizer.json'), '\n');
    await expect(runTrain(second, { logger: silent, resume: true })).rejects.toThrow(
      'train: tokenizer.json sha256 was',
    );
  });

  it('refuses rows longer than the model and a preset it does not have', async () => {
    const data = { format: 'text', train: [join(folder, 'text.jsonl')], sequenceLength: 65 };
    const training = { steps: 6, batchSize: 2, learningRate: 0.02 };
    await expect(runTrain(config('long', { data, training }), { logger: silent })).rejects.toThrow(
      'config: data.sequenceLength is 65, the model serves 64 positions',
    );
    await expect(runTrain(config('none', { model: { preset: 'terapeutic' } }), { logger: silent })).rejects.toThrow(
      'config: model.preset must be one of therapeutic',
    );
  });

  describe('refuses before a backend is named and data is read', () => {
    const absent = join(tmpdir(), 'no-such-rows.jsonl');
    const data = { format: 'text', train: [absent], validation: [absent], sequenceLength: 16 };
    const refused = (output: string, more: Record<string, unknown>, resume = false) => {
      // A backend that does not exist, so that starting it would be the first thing to fail.
      const broken = { ...config(output, { data, ...more }), backend: 'none such' as 'wasm' };
      return expect(runTrain(broken, { logger: silent, resume })).rejects;
    };

    it('an override that the preset does not take', () =>
      refused('early', { model: { preset: 'therapeutic', overrides: { ...tiny, numKeyValueHeads: 3 } } }).toThrow(
        'numKeyValueHeads is 3 but numAttentionHeads is 2',
      ));

    it('an adapter on a linear that the model does not have, or a model folder that is not there', async () => {
      const lora = { r: 2, loraAlpha: 4, targetModules: ['gate'] };
      const from = join(folder, 'written');
      await mkdir(from, { recursive: true });
      const json = configToHuggingFace(presets.therapeutic({ ...tiny, vocabSize: 300 }), 'float32');
      await writeFile(join(from, 'config.json'), JSON.stringify(json));
      await refused('early', { model: { from }, lora }).toThrow(
        "config: lora does not fit the model: countParameters: targetModules names 'gate', but the model has q_proj",
      );
      await refused('early', { model: { from: join(folder, 'absent') } }).toThrow('config.json: cannot be read');
    });

    it('a bias rate for a model without a balance bias', () =>
      refused('early', { auxiliary: { biasUpdateRate: 0.01 } }).toThrow(
        "config: auxiliary.biasUpdateRate is 0.01, but the model's mixture has no balanceBias",
      ));

    it('rows longer than the positions that the model serves, stretched ones included', async () => {
      const rows = { ...data, sequenceLength: 129 };
      await refused('early', { data: { ...data, sequenceLength: 65 } }).toThrow('data.sequenceLength is 65');
      const model = { preset: 'therapeutic', overrides: { ...tiny, ropeScaling: { type: 'linear', factor: 2 } } };
      await refused('early', { model, data: rows }).toThrow('sequenceLength is 129, the model serves 128 positions');
      await refused('early', { model, data: { ...rows, sequenceLength: 128 } }).toThrow('none such');
    });

    it('supervision by domains that are not those of the experts', async () => {
      const model = (overrides: object) => ({ preset: 'therapeutic', overrides: { ...tiny, ...overrides } });
      const listed = (...domains: string[]) => ({ ...data, domains });
      const [a, b, c, d] = therapeuticDomains;
      await refused('early', { data: listed(b, a, c, d) }).toThrow(
        'data.domains is mental_health, psychology, bias_detection, general_therapeutic and the model',
      );
      const mixture = { numExperts: 3, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true };
      await refused('early', { model: model({ mixture }) }).toThrow('data.domains names 4 domains');
      await refused('early', { model: model({ mixture: undefined }) }).toThrow('the model is dense');
      const free = { data: listed(b, a), auxiliary: { domainSupervision: 0 } };
      await refused('early', free).toThrow('none such'); // nothing else to refuse
    });

    it('an output folder with a run in it, and one without when resuming', async () => {
      const checkpoint = join(folder, 'held/checkpoints/step-00000001');
      await mkdir(checkpoint, { recursive: true });
      await writeFile(join(checkpoint, 'state.json'), JSON.stringify({ format: 1, step: 1, files: {} }));
      await refused('held', {}).toThrow('already holds a run');
      await refused('early', {}, true).toThrow('there is no whole checkpoint');
    });
  });
});
