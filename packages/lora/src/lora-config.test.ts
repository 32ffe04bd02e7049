import { describe, expect, it } from 'vitest';
import { defaultLoraConfig, type LoraConfig, resolveLoraConfig } from './index.js';

describe('resolveLoraConfig', () => {
  it('fills in rank 16, alpha 32 on the attention projections, and freezes', () => {
    expect(resolveLoraConfig()).toEqual(defaultLoraConfig);
    const config = resolveLoraConfig({ r: 4 });
    expect([config.r, config.loraAlpha]).toEqual([4, 32]);
    expect(Object.isFrozen(config) && Object.isFrozen(config.targetModules)).toBe(true);
  });

  it('takes what is undefined as not given', () => {
    expect(resolveLoraConfig({ r: undefined, rankPattern: undefined })).toEqual(defaultLoraConfig);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ r: 0 }, 'lora: r must be a whole number of 1 or more, got 0.'],
    [{ loraAlpha: -1 }, 'lora: loraAlpha must be above 0, got -1.'],
    [{ loraDropout: 1 }, 'lora: loraDropout must be in [0, 1), got 1.'],
    [{ targetModules: [] }, 'lora: targetModules is empty; name the linears to adapt'],
    [{ targetModules: ['q_proj', 'q_proj'] }, "lora: targetModules names 'q_proj' twice; name each linear once."],
    [{ targetParameters: 'experts' }, 'lora: targetParameters must be a list of names, got "experts".'],
    [{ targetModules: '(?P<name>q)' }, "lora: targetModules '(?P<name>q)' is not a regular expression here: "],
    [{ targetModules: null }, 'lora: targetModules must be a list of names or one regular expression, got null.'],
    [{ rankPattern: { q_proj: 0 } }, "lora: rankPattern['q_proj'] must be a whole number of 1 or more, got 0."],
    [{ rankPattern: { 'q_proj\\Z': 2 } }, "lora: rankPattern 'q_proj\\Z' is not a regular expression here: "],
    [{ alphaPattern: { q_proj: -1 } }, "lora: alphaPattern['q_proj'] must be above 0, got -1."],
    [{ alphaPattern: ['q_proj'] }, 'lora: alphaPattern must be an object of patterns, got ["q_proj"].'],
    [{ useRslora: 1 }, 'lora: useRslora must be true or false, got 1.'],
    [{ initLoraWeights: 'pissa_niter_x' }, 'lora: initLoraWeights must be true, "gaussian", "pissa", "pissa_niter_K"'],
    [{ initLoraWeights: false }, 'or "olora", got false.'],
    [{ bias: 'all' }, "lora: unknown key 'bias'"],
    [{ rank: 8 }, "lora: unknown key 'rank'; known are r, loraAlpha,"],
  ])('refuses %j', (change, message) => {
    expect(() => resolveLoraConfig(change as Partial<LoraConfig>)).toThrow(message);
  });
});
