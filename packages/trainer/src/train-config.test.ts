import { describe, expect, it } from 'vitest';
import { resolveTrainConfig, resumeSettings, trainConfigWarnings } from './index.js';

const base = {
  output: 'runs/test',
  model: { preset: 'therapeutic' },
  tokenizer: 'runs/tokenizer',
  data: { format: 'text', train: ['train.jsonl'], validation: ['validation.jsonl'], sequenceLength: 64 },
  training: { steps: 100, batchSize: 4, learningRate: 1e-3 },
};
type Changes = { [K in keyof typeof base]?: object | string } & Record<string, unknown>;
const config = (changes: Changes) => ({ ...base, ...changes });

describe('resumeSettings', () => {
  it('lets a run go on that was started before domainBalance was there, while it is at its default', () => {
    const settings = (auxiliary: object) => resumeSettings(resolveTrainConfig({ ...base, auxiliary }));
    expect(settings({})).not.toHaveProperty('auxiliary.domainBalance');
    expect(settings({ domainBalance: 0 })).toMatchObject({ 'auxiliary.domainBalance': 0 });
  });
});

describe('resolveTrainConfig', () => {
  it('fills in the defaults and freezes', () => {
    const whole = resolveTrainConfig(base);
    expect(whole).toMatchObject({
      seed: 0,
      backend: 'auto',
      training: { accumulationSteps: 1, weightDecay: 0.1 },
      auxiliary: { klBalance: 0.01, domainSupervision: 0 },
    });
    expect(whole.data.domains).toEqual(['psychology', 'mental_health', 'bias_detection', 'general_therapeutic']);
    expect(Object.isFrozen(whole.training)).toBe(true);
  });

  it.each([
    [{ sede: 3 }, 'config: unknown key sede; did you mean seed?'],
    [
      { training: { ...base.training, warmUpSteps: 3 } },
      'config: unknown key training.warmUpSteps; did you mean warmupSteps?',
    ],
    [
      { training: { ...base.training, loraplusLrRatio: 16 } },
      'config: training.loraplusLrRatio is 16 but there is no adapter; set lora or leave it out.',
    ],
    [
      { model: { from: 'base', weights: 'int8' } },
      'config: model.weights is int8, in which weights are frozen, and there is no adapter to train; set lora, or leave it out.',
    ],
    [{ xyzzy_and_more: 3 }, 'config: unknown key xyzzy_and_more; known are seed, backend, precision, output'],
    [
      { training: { ...base.training, warmupSteps: 100 } },
      'training.warmupSteps is 100 but training.steps is 100; the peak learning rate would never be reached.',
    ],
    [
      { training: { ...base.training, learningRate: -1 } },
      'config: training.learningRate must be a number above 0, got -1.',
    ],
    [
      { training: { ...base.training, batchSize: 2.5 } },
      'config: training.batchSize must be a whole number of at least 1, got 2.5.',
    ],
    [
      { training: { ...base.training, patience: 2 } },
      'training.patience is 2 but nothing is evaluated; set training.evaluateEverySteps.',
    ],
    [{ backend: 'cuda' }, 'config: backend must be one of auto, tensorflow, webgpu, wasm, cpu, got "cuda".'],
    [
      { model: { preset: 'therapeutic', from: 'runs/base' } },
      'config: model must have either preset or from, got both.',
    ],
    [{ model: {} }, 'config: model must have either preset or from, got neither.'],
    [{ lora: { r: 4, loraAlpha: 8 } }, 'config: lora adapts a trained model; name its folder in model.from'],
    [
      { lora: { r: 4, loraAlpha: 8, initLoraWeights: 'pissa_niter_' } },
      'config: lora.initLoraWeights must be one of true, gaussian, pissa, pissa_niter_K with a number K of iterations, olora, got "pissa_niter_".',
    ],
    [
      {
        model: { from: 'runs/base' },
        lora: { r: 4, loraAlpha: 8, targetParameters: ['experts.down_proj'], useDora: true },
      },
      'config: lora.targetParameters does not go with lora.useDora true; leave it out, or adapt linears alone.',
    ],
    [
      {
        model: { from: 'runs/base' },
        lora: { r: 4, loraAlpha: 8, targetParameters: ['experts.down_proj'], initLoraWeights: 'pissa_niter_4' },
      },
      'config: lora.targetParameters does not go with lora.initLoraWeights "pissa_niter_4"',
    ],
    [
      { model: { from: 'runs/base' }, lora: { r: 4, loraAlpha: 8, targetModules: [] } },
      'config: lora.targetModules must be a list that is not empty, got [].',
    ],
    [
      { lora: { r: 4, loraAlpha: 8, rankPattern: { q_proj: 0 } } },
      'config: lora.rankPattern.q_proj must be a whole number of at least 1, got 0.',
    ],
    [{ data: { ...base.data, format: 'jsonl' } }, 'config: data.format must be one of text, chat, got "jsonl".'],
    [{ data: { ...base.data, train: [] } }, 'config: data.train must be a list that is not empty, got [].'],
    [
      { data: { ...base.data, domainWeights: { psycology: 1 } } },
      'config: data.domainWeights.psycology is not one of data.domains',
    ],
    [
      { data: { ...base.data, validation: undefined }, training: { ...base.training, evaluateEverySteps: 5 } },
      'training.evaluateEverySteps needs data.validation',
    ],
    [{ seed: 2 ** 32 }, 'config: seed must be a whole number from 0 to 4294967295, got 4294967296.'],
    [{ seed: -1 }, 'config: seed must be a whole number from 0 to 4294967295, got -1.'],
    [{ tokenizer: undefined }, 'config: tokenizer must be a text that is not empty, got nothing.'],
    [{ auxiliary: { klBalance: -0.1 } }, 'config: auxiliary.klBalance must be a number of at least 0, got -0.1.'],
  ] as [Changes, string][])('refuses %j', (changes, message) => {
    expect(() => resolveTrainConfig(config(changes))).toThrow(message);
  });

  it('takes every setting of an adapter', () => {
    const lora = {
      r: 4,
      loraAlpha: 8,
      loraDropout: 0.1,
      targetModules: '.*q_proj',
      rankPattern: { '0.+': 2 },
      alphaPattern: { '1.+': 3 },
      useRslora: true,
      useDora: true,
      initLoraWeights: 'gaussian',
    };
    expect(resolveTrainConfig(config({ model: { from: 'runs/base' }, lora })).lora).toEqual(lora);
  });

  it('takes the largest seed', () => {
    expect(resolveTrainConfig(config({ seed: 2 ** 32 - 1 })).seed).toBe(4_294_967_295);
  });

  it('refuses what is not an object', () => {
    expect(() => resolveTrainConfig([])).toThrow('config: the config must be an object, got [].');
  });

  it('warns of patience that cannot fire', () => {
    const training = { ...base.training, evaluateEverySteps: 50, patience: 3 };
    expect(trainConfigWarnings(resolveTrainConfig(config({ training })))[0]).toContain('it cannot fire');
    expect(trainConfigWarnings(resolveTrainConfig(base))).toEqual([]);
  });
});
