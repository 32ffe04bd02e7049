import { describe, expect, it } from 'vitest';
import { countLoraParameters, type LoraConfig, resolveLoraConfig } from './index.js';
import { planLora } from './lora-plan.js';

const paths = [0, 1, 11].flatMap((i) =>
  ['q_proj', 'v_proj', 'eq_proj'].map((name) => `model.layers.${i}.attn.${name}`),
);

const stacks = [0, 1].flatMap((i) =>
  ['gate_up_proj', 'down_proj'].map((name) => `model.layers.${i}.mlp.experts.${name}`),
);

const plan = (config: Partial<LoraConfig>) =>
  planLora('test', { linears: paths, stacks }, resolveLoraConfig(config)).linears;

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
      "test: rankPattern 'v_proj' fits nothing that targetModules and targetParameters adapt.",
    ],
  ])('refuses %j', (config, message) => {
    expect(() => plan(config)).toThrow(message);
  });
});

describe('planLora of stacks', () => {
  const planned = (config: Partial<LoraConfig>) => {
    const { linears, stacks: adapted } = planLora('test', { linears: paths, stacks }, resolveLoraConfig(config));
    return { linears: linears.size, stacks: [...adapted].map(([path, { r, scale }]) => [path.slice(13), r, scale]) };
  };

  it('finds them by ends of their paths, with patterns of theirs, beside linears or alone', () => {
    const alone = {
      r: 2,
      loraAlpha: 6,
      targetModules: [],
      targetParameters: ['experts.down_proj', '1.mlp.experts.gate_up_proj'],
      rankPattern: { 'experts.gate_up_proj': 3 },
    };
    const found = [
      ['0.mlp.experts.down_proj', 2, 3],
      ['1.mlp.experts.gate_up_proj', 3, 2],
      ['1.mlp.experts.down_proj', 2, 3],
    ];
    expect(planned(alone)).toEqual({ linears: 0, stacks: found });
    expect(planned({ ...alone, targetModules: 'all-linear' })).toEqual({ linears: paths.length, stacks: found });
  });

  it('knows a mixture by the name that Mixtral files give it too', () => {
    const config = { targetModules: [], targetParameters: ['block_sparse_moe.experts.down_proj'] };
    expect(planned(config)).toEqual(planned({ targetModules: [], targetParameters: ['mlp.experts.down_proj'] }));
    const patterns = { rankPattern: { 'block_sparse_moe.experts.+': 3 }, alphaPattern: { 'mlp.experts.+': 6 } };
    expect(planned({ ...config, ...patterns }).stacks[0]).toEqual(['0.mlp.experts.down_proj', 3, 2]);
  });

  it('refuses a name that no stack has', () => {
    expect(() => planned({ targetModules: [], targetParameters: ['experts.up_proj'] })).toThrow(
      "test: targetParameters names 'experts.up_proj', but the model has experts.gate_up_proj, experts.down_proj.",
    );
  });
});

describe('countLoraParameters', () => {
  it('counts each linear at its own rank', () => {
    const linears = new Map([
      ['a.q_proj', [5, 7]],
      ['b.q_proj', [11, 13]],
    ] as const);
    const sizes = { linears, stacks: new Map([['a.experts.down_proj', [17, 19, 23]]] as const) };
    const config = { r: 2, targetModules: ['q_proj'], rankPattern: { 'b.q_proj': 3 } };
    expect(countLoraParameters('test', sizes, config)).toBe(2 * (5 + 7) + 3 * (11 + 13));
    expect(countLoraParameters('test', sizes, { ...config, useDora: true })).toBe(2 * (5 + 7) + 7 + 3 * (11 + 13) + 13);
    expect(countLoraParameters('test', sizes, { r: 2, targetModules: [], targetParameters: ['down_proj'] })).toBe(
      17 * 2 * (19 + 23),
    );
  });
});
