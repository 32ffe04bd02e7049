import { describe, expect, it } from 'vitest';
import { countLoraParameters, type LoraConfig, resolveLoraConfig } from './index.js';
import { planLora } from './lora-plan.js';

const paths = [0, 1, 11].flatMap((i) =>
  ['q_proj', 'v_proj', 'eq_proj'].map((name) => `model.layers.${i}.attn.${name}`),
);

const plan = (config: Partial<LoraConfig>) => planLora('test', paths, resolveLoraConfig(config));

/** The paths without the part that all share. */
const short = (config: Partial<LoraConfig>) =>
  [...plan(config).keys()].map((path) => path.slice('model.layers.'.length));

describe('planLora', () => {
  it.each<[LoraConfig['targetModules'], string[]]>([
    [['q_proj'], ['0.attn.q_proj', '1.attn.q_proj', '11.attn.q_proj']],
    [
      ['1.attn.q_proj', 'model.layers.0.attn.v_proj'],
      ['0.attn.v_proj', '1.attn.q_proj'],
    ],
    ['.*\\.1\\.attn\\.(q|v)_proj', ['1.attn.q_proj', '1.attn.v_proj']],
  ])('targets by %j', (targetModules, expected) => {
    expect(short({ targetModules })).toEqual(expected);
  });

  it('takes rank and alpha from the first pattern that fits the end of a path, from a dot on', () => {
    const layers = plan({
      r: 2,
      loraAlpha: 6,
      targetModules: ['q_proj', 'eq_proj', 'v_proj'],
      rankPattern: { '1\\.attn\\..*': 3, 'q_proj|v_proj': 5 },
      alphaPattern: { '^model.layers.0.attn.q_proj': 10, q_proj: 30 },
    });
    expect([...layers.values()].map(({ r, scale }) => [r, scale * r])).toEqual(
      // q, v and eq of layers 0, 1 and 11: `1.attn` is no end of `11.attn`, nor `q_proj` of `eq_proj`.
      [
        [5, 10],
        [5, 6],
        [2, 6],
        [3, 30],
        [3, 6],
        [3, 6],
        [5, 30],
        [5, 6],
        [2, 6],
      ],
    );
  });

  it('scales by the root of each rank with useRslora', () => {
    const layers = plan({ r: 4, loraAlpha: 6, useRslora: true, targetModules: ['q_proj'], rankPattern: { '0.+': 9 } });
    expect([...layers.values()].map(({ scale }) => scale)).toEqual([2, 3, 3]);
  });

  it.each<[Partial<LoraConfig>, string]>([
    [
      { targetModules: ['q_proj', 'proj'] },
      "test: targetModules names 'proj', but the model has q_proj, v_proj, eq_proj.",
    ],
    [
      { targetModules: 'q_proj' },
      "test: targetModules 'q_proj' fits no whole path; the model has q_proj, v_proj, eq_proj, such as model.layers.0.attn.q_proj.",
    ],
    [
      { targetModules: ['q_proj'], rankPattern: { v_proj: 2 } },
      "test: rankPattern 'v_proj' fits none of the linears that targetModules adapts.",
    ],
  ])('refuses %j', (config, message) => {
    expect(() => plan(config)).toThrow(message);
  });
});

describe('countLoraParameters', () => {
  it('counts each linear at its own rank', () => {
    const sizes = new Map([
      ['a.q_proj', [5, 7]],
      ['b.q_proj', [11, 13]],
    ] as const);
    const config = { r: 2, targetModules: ['q_proj'], rankPattern: { 'b.q_proj': 3 } };
    expect(countLoraParameters('test', sizes, config)).toBe(2 * (5 + 7) + 3 * (11 + 13));
    expect(countLoraParameters('test', sizes, { ...config, useDora: true })).toBe(2 * (5 + 7) + 7 + 3 * (11 + 13) + 13);
  });
});
