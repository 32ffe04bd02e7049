import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { move } from '../test/move.js';
import { TwoLayerHost } from '../test/two-layer-host.js';
import { Adapters, type Combination, type LoraAdapter } from './index.js';

/** Sums in float64 beside sums in float32. */
const ROUNDING = 1e-5;
const path = 'layers.1.v_proj';

describeOnBackends('combined adapters', () => {
  let host: TwoLayerHost;
  let adapters: Adapters;
  beforeEach(() => {
    host = new TwoLayerHost();
    adapters = new Adapters(host);
  });
  afterEach(() => host.dispose());

  const add = (name: string, seed: number, settings = {}) =>
    move(adapters.add(name, { r: 2, loraAlpha: 3, targetModules: ['v_proj'], ...settings }, seed), seed);
  const deltaOf = (adapter: LoraAdapter, at = path) => adapter.layers.get(at)!.delta();
  /** `sum of weights x scale A B`, by the device. */
  const sumOf = (weights: Record<string, number>) =>
    tf.tidy(() =>
      tf.addN(Object.entries(weights).map(([name, weight]) => tf.mul(deltaOf(adapters.get(name)), weight))),
    );
  /** Sets A to a column and B to a row, of an adapter of rank 1. */
  const set = (adapter: LoraAdapter, a: number[], b: number[]) => {
    const update = adapter.layers.get(path)!;
    tf.tidy(() => {
      update.a.assign(tf.tensor2d(a, [5, 1]));
      update.b.assign(tf.tensor2d(b, [1, 3]));
    });
  };

  it.each<Combination>([{ type: 'cat' }, { type: 'svd', rank: 5 }, { type: 'svd', rank: 9 }])(
    'are the weighted sum exactly: %j',
    async (how) => {
      add('warm', 1);
      add('calm', 2, { r: 3, useRslora: true });
      const weights = { warm: 0.7, calm: -1.3 };
      const combined = await adapters.combine('both', weights, how);
      expect(adapters.active).toEqual([]);
      const [delta, sum] = [deltaOf(combined), sumOf(weights)];
      await expectClose(delta, sum, ROUNDING);
      tf.dispose([delta, sum]);
    },
  );

  it('have the sum of the ranks by cat, the largest by svd, on all linears of any', async () => {
    add('warm', 1);
    add('calm', 2, { r: 3, targetModules: ['q_proj'], rankPattern: { '0.q_proj': 1 } });
    const cat = await adapters.combine('cat', { warm: 1, calm: 1 }, { type: 'cat' });
    const svd = await adapters.combine('svd', { warm: 1, calm: 1 }, { type: 'svd' });
    expect([cat.config.r, cat.config.loraAlpha, svd.config.r]).toEqual([3, 3, 3]);
    expect([...cat.layers.keys()].sort()).toEqual([...host.linears().keys()].sort());
    for (const at of ['layers.0.q_proj', path]) {
      const name = at === path ? 'warm' : 'calm';
      const parts = [cat, svd, adapters.get(name)].map((adapter) => deltaOf(adapter, at));
      await expectClose(parts[0]!, parts[2]!, ROUNDING);
      await expectClose(parts[1]!, parts[2]!, ROUNDING);
      tf.dispose(parts);
    }
  });

  it('by svd of a lower rank leave the smallest error that a rank leaves', async () => {
    for (const [name, row, at] of [
      ['large', 4, 0],
      ['small', 3, 1],
    ] as const)
      set(
        add(name, 1, { r: 1, loraAlpha: 1 }),
        [0, 0, 0, 0, 0].map((_, i) => Number(i === at)),
        [0, 0, 0].map((_, i) => (i === at ? row : 0)),
      );
    const combined = await adapters.combine('one', { large: 1, small: 1 }, { type: 'svd', rank: 1 });
    const [delta, large] = [deltaOf(combined), deltaOf(adapters.get('large'))];
    await expectClose(delta, large, ROUNDING);
    tf.dispose([delta, large]);
  });

  it('by linear sum A with A and B with B, by roots of the weights', async () => {
    set(add('warm', 1, { r: 1, loraAlpha: 4 }), [1, 0, 0, 0, 0], [1, 2, 0]);
    set(add('calm', 1, { r: 1, loraAlpha: 1 }), [0, 1, 0, 0, 0], [0, 0, 1]);
    const combined = await adapters.combine('both', { warm: 1, calm: -9 }, { type: 'linear' });
    const { a, b } = combined.layers.get(path)!;
    await expectClose(a, [2, -3, 0, 0, 0], ROUNDING);
    await expectClose(b, [2, 4, 3], ROUNDING);
    const alone = await adapters.combine('less', { warm: -0.5 }, { type: 'linear' });
    const [delta, expected] = [deltaOf(alone), sumOf({ warm: -0.5 })];
    await expectClose(delta, expected, ROUNDING);
    tf.dispose([delta, expected]);
  });

  it.each([
    // Of the first values two point up, the third further down.
    ['total', -5],
    ['frequency', 1],
  ] as const)(
    'by ties drop small values and average those of the sign that most have, by %s',
    async (majoritySign, elected) => {
      for (const [name, a] of Object.entries({
        one: [1, 2, 0.1, 0, 0.3],
        two: [1, 1, 0.2, 0, 0.3],
        three: [-5, 0.1, 0.2, 0.1, -0.4],
      }))
        set(add(name, 1, { r: 1, loraAlpha: 1 }), a, [1, 0, 0]);
      const how = { type: 'ties', density: 0.4, majoritySign } as const;
      const { layers } = await adapters.combine('all', { one: 1, two: 1, three: 1 }, how);
      const { a, b } = layers.get(path)!;
      await expectClose(a, [elected, 1.5, 0, 0, -0.4], ROUNDING); // two of five values of each are left
      await expectClose(b, [1, 0, 0], ROUNDING);
    },
  );

  it('by dare_linear drop at random by seed, keep the mean, and at density 1 are linear', async () => {
    const weights = { warm: 0.7, calm: -1.3 };
    for (const [name, seed] of [
      ['warm', 1],
      ['calm', 2],
    ] as const)
      add(name, seed);
    const linear = await adapters.combine('linear', weights, { type: 'linear' });
    const whole = await adapters.combine('whole', weights, { type: 'dare_linear', density: 1, seed: 1 });
    await expectClose(whole.layers.get(path)!.a, linear.layers.get(path)!.a, 0);
    const half = (name: string, seed: number) =>
      adapters.combine(name, weights, { type: 'dare_linear', density: 0.5, seed });
    const [one, same, other] = [await half('one', 1), await half('same', 1), await half('other', 2)];
    const [values, again, others] = await Promise.all(
      [one, same, other].map(({ layers }) => layers.get(path)!.a.data()),
    );
    expect(values).toEqual(again);
    expect(values).not.toEqual(others);
    const mean = tf.variable(tf.zeros([5, 2]));
    const draws = 400;
    for (let seed = 0; seed < draws; seed++) {
      const drawn = await half('drawn', seed);
      tf.tidy(() => mean.assign(tf.add(mean, tf.mul(drawn.layers.get(path)!.a, 1 / draws))));
      adapters.delete('drawn');
    }
    await expectClose(mean, linear.layers.get(path)!.a, 0.2); // a value's deviation is its size times sqrt((1 - 0.5) / (0.5 draws))
    mean.dispose();
  });

  it('refuse what has no sum, and say the way out', async () => {
    add('warm', 1);
    add('calm', 2, { r: 3 });
    add('dora', 3, { useDora: true });
    const before = tf.memory().numTensors;
    for (const [weights, how, message] of [
      [{}, { type: 'cat' }, 'there is no adapter to combine'],
      [{ warm: 1, cold: 1 }, { type: 'cat' }, "there is no adapter 'cold'; the model has warm, calm, dora."],
      [
        { warm: 1, calm: 1 },
        { type: 'linear' },
        "'linear' needs adapters of one rank, got 2 and 3 at layers.0.v_proj; combine them with 'cat' or 'svd'.",
      ],
      [{ warm: 1, dora: 1 }, { type: 'cat' }, "'dora' is a DoRA adapter"],
      [{ warm: 1 }, { type: 'cat' }, "one adapter alone is only weighed, with 'linear'; got 'cat'."],
      [{ warm: Number.NaN }, { type: 'linear' }, "the weight of 'warm' must be a number, got NaN."],
      [{ warm: 1, calm: 1 }, { type: 'ties', density: 0 }, 'density must be above 0 and at most 1, got 0.'],
      [{ warm: 1, calm: 1 }, { type: 'svd', rank: 1.5 }, 'rank must be a whole number of 1 or more, got 1.5.'],
    ] as [Record<string, number>, Combination, string][])
      await expect(adapters.combine('both', weights, how)).rejects.toThrow(message);
    await expect(adapters.combine('calm', { warm: 1, calm: 1 }, { type: 'cat' })).rejects.toThrow(
      "an adapter 'calm' already",
    );
    expect(tf.memory().numTensors).toBe(before);
  });
});
