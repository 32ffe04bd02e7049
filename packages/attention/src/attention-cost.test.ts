import { describe, expect, it } from 'vitest';
import { attentionCost, resolveMultiLevelConfig } from './index.js';

/** Counts the pairs one by one: query i sees the keys that satisfy the level's rule. */
function countPairs(queries: number, sees: (i: number, j: number) => boolean): number {
  let pairs = 0;
  for (let i = 0; i < queries; i++) for (let j = 0; j < queries; j++) if (sees(i, j)) pairs++;
  return pairs;
}

describe('attentionCost', () => {
  it.each([
    [1, 1, [2, 4]],
    [7, 3, [2, 4]],
    [53, 11, [3, 5]],
    [64, 100, [2, 3, 7]],
  ])('counts the pairs that %i tokens with window %i and strides %j look at', (seq, window, strides) => {
    const fine = countPairs(seq, (i, j) => j <= i && j > i - window);
    const coarse = strides.map((stride) => countPairs(Math.floor(seq / stride), (i, j) => j <= i));
    const { levels, total, share } = attentionCost(seq, { window, strides });
    expect(levels).toEqual([fine, ...coarse]);
    expect(total).toBe([fine, ...coarse].reduce((a, b) => a + b));
    expect(share).toBe(total / countPairs(seq, (i, j) => j <= i));
  });

  it('tells the figures of the README: a short window saves, three full levels cost 21/16', () => {
    const percent = (seq: number, window: number) => Math.round(1000 * attentionCost(seq, { window }).share) / 10;
    expect([512, 2048, 8192].map((seq) => attentionCost(seq, { window: 32 }).total)).toEqual([
      57_040, 721_168, 10_750_480,
    ]);
    expect([512, 2048, 8192].map((seq) => percent(seq, 32))).toEqual([43.4, 34.4, 32]);
    expect([512, 2048, 8192].map((seq) => attentionCost(seq, { window: seq }).total)).toEqual([
      172_480, 2_754_304, 44_047_360,
    ]);
    expect([512, 2048, 8192].map((seq) => percent(seq, seq))).toEqual([131.3, 131.3, 131.3]);
    expect(attentionCost(2 ** 20, { window: 2 ** 20 }).share).toBeCloseTo(21 / 16, 5);
  });

  it('refuses lengths and levels that cannot be', () => {
    expect(() => attentionCost(0, { window: 3 })).toThrow('seq must be a whole number of 1 or more, got 0');
    expect(() => attentionCost(7, { window: 0 })).toThrow('window must be a whole number of 1 or more, got 0');
  });
});

describe('resolveMultiLevelConfig', () => {
  it('fills in half and quarter resolution', () => {
    expect(resolveMultiLevelConfig({ window: 5 })).toEqual({ window: 5, strides: [2, 4] });
  });

  it.each([
    [{ window: 5, strides: [] }, 'strides must be growing whole numbers of 2 or more, got []'],
    [{ window: 5, strides: [4, 2] }, 'got [4,2]; [2, 4] is half and quarter resolution'],
    [{ window: 5, strides: [1, 2] }, 'got [1,2]'],
    [{ window: 5, strides: [2.5] }, 'got [2.5]'],
    [{ window: Number.NaN }, 'window must be a whole number of 1 or more, got NaN'],
    [{ window: 3, strides: [5, 7] }, 'window is 3 but the finest blocks have 5 tokens'],
    [{ window: 3, stride: 2 }, 'stride'],
  ])('refuses %j', (config, words) => {
    expect(() => resolveMultiLevelConfig(config)).toThrow(words);
  });
});
