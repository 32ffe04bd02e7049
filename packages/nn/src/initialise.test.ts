import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { filledVariable, normalVariable, seedFor } from './index.js';

describeOnBackends('normalVariable', () => {
  it('gives the same values for a seed, others for another, and the asked deviation', async () => {
    const [a, b, c] = [1, 1, 2].map((seed) => normalVariable([31, 37], 0.25, seed));
    await expectClose(a!, b!, 0);
    const [values, others] = [await a!.data<'float32'>(), await c!.data<'float32'>()];
    expect(values).not.toEqual(others);
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(deviation).toBeCloseTo(0.25, 1);
    for (const variable of [a, b, c]) variable!.dispose();
  });

  it('gives zeros for a deviation of 0', async () => {
    const [zeros, sevens] = [normalVariable([2, 3], 0, 5), filledVariable([2], 7)];
    expect([...(await zeros.data()), ...(await sevens.data())]).toEqual([0, 0, 0, 0, 0, 0, 7, 7]);
    zeros.dispose();
    sevens.dispose();
  });
});

describe('seedFor', () => {
  it('gives each path a seed of its own, always the same', () => {
    const paths = Array.from({ length: 40 }, (_, i) =>
      ['q_proj', 'k_proj'].map((name) => `layers.${i}.${name}`),
    ).flat();
    const seeds = paths.map((path) => seedFor(7, path));
    expect(new Set(seeds).size).toBe(paths.length);
    expect(paths.map((path) => seedFor(7, path))).toEqual(seeds);
    expect(paths.map((path) => seedFor(8, path))).not.toEqual(seeds);
    for (const seed of seeds) expect(Number.isInteger(seed) && seed >= 1 && seed < 2 ** 31).toBe(true);
  });

  it('never changes: a trained seed must mean the same weights tomorrow', () => {
    expect([seedFor(1, 'embed_tokens'), seedFor(42, 'layers.0')]).toEqual([1231885959, 1391051367]);
  });
});
