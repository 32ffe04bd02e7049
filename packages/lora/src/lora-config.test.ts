import { describe, expect, it } from 'vitest';
import { defaultLoraConfig, type LoraConfig, resolveLoraConfig } from './index.js';

describe('resolveLoraConfig', () => {
  it('fills in rank 16, alpha 32 on the attention projections, and freezes', () => {
    expect(resolveLoraConfig()).toEqual(defaultLoraConfig);
    const config = resolveLoraConfig({ r: 4 });
    expect([config.r, config.loraAlpha]).toEqual([4, 32]);
    expect(Object.isFrozen(config) && Object.isFrozen(config.targetModules)).toBe(true);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ r: 0 }, 'lora: r must be a whole number of 1 or more, got 0.'],
    [{ loraAlpha: -1 }, 'lora: loraAlpha must be above 0, got -1.'],
    [{ loraDropout: 1 }, 'lora: loraDropout must be in [0, 1), got 1.'],
    [{ targetModules: [] }, 'lora: targetModules is empty; name the linears to adapt'],
    [{ targetModules: ['q_proj', 'q_proj'] }, "lora: targetModules names 'q_proj' twice; name each linear once."],
    [{ rank: 8 }, "lora: unknown key 'rank'; known are r, loraAlpha, loraDropout, targetModules."],
  ])('refuses %j', (change, message) => {
    expect(() => resolveLoraConfig(change as Partial<LoraConfig>)).toThrow(message);
  });
});
