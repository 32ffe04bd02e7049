import { describe, expect, it } from 'vitest';
import { usageStatistics } from './index.js';

describe('usageStatistics', () => {
  it('tells the three entropies apart', () => {
    // Two tokens, each decided, for different experts: decided per token, even on average.
    const decided = usageStatistics([1, 0, 0, 1], [0, 1], 2, 1);
    expect(decided.meanTokenEntropy).toBeCloseTo(0);
    expect(decided.entropyOfMean).toBeCloseTo(Math.LN2);
    expect(decided.meanTopKEntropy).toBeCloseTo(0);
    // Two undecided tokens over three experts, of which each visits two with equal weight.
    const third = 1 / 3;
    const even = usageStatistics([third, third, third, third, third, third], [0, 1, 2, 0], 3, 2);
    expect(even.meanTokenEntropy).toBeCloseTo(Math.log(3));
    expect(even.entropyOfMean).toBeCloseTo(Math.log(3));
    expect(even.meanTopKEntropy).toBeCloseTo(Math.LN2);
  });

  it('renormalises the chosen weights before their entropy', () => {
    const { meanTopKEntropy } = usageStatistics([0.6, 0.2, 0.1, 0.1], [0, 1], 4, 2);
    expect(meanTopKEntropy).toBeCloseTo(-(0.75 * Math.log(0.75) + 0.25 * Math.log(0.25)));
  });

  it('reports load, utilisation and dead experts', () => {
    const statistics = usageStatistics(new Array(12).fill(1 / 4), [0, 1, 0, 3, 0, 1], 4, 2);
    expect(statistics.load).toEqual([3 / 6, 2 / 6, 0, 1 / 6]);
    expect(statistics.utilisation).toEqual([3 / 6, 2 / 6, 0, 1 / 6].map((share) => share * 4));
    expect(statistics.deadExperts).toEqual([2]);
  });

  it('leaves padding out and counts what was dropped', () => {
    const probabilities = [0.9, 0.1, 0.5, 0.5, 0.2, 0.8];
    const padded = usageStatistics(probabilities, [0, 0, 1], 2, 1, { mask: [1, 0, 1], dropped: 1 });
    const { dropRate, ...alone } = usageStatistics([0.9, 0.1, 0.2, 0.8], [0, 1], 2, 1);
    expect(padded).toEqual({ ...alone, dropRate: 1 / 2 });
    expect(dropRate).toBe(0);
  });

  it('refuses masks, drops and probabilities that cannot be', () => {
    const counted =
      (mask: number[], dropped = 0) =>
      () =>
        usageStatistics([0.5, 0.5], [1], 2, 1, { mask, dropped });
    expect(counted([1, 1])).toThrow('the mask has 2 entries for 1 tokens; give one each.');
    expect(counted([0])).toThrow('there are no tokens');
    expect(counted([1], 2)).toThrow('dropped must be from 0 to the 1 choices, got 2.');
    expect(() => usageStatistics([Number.NaN, 0.5], [1], 2, 1)).toThrow('token 0 has a probability of NaN');
  });

  it('refuses what is not one set of tokens', () => {
    expect(() => usageStatistics([], [], 3, 2)).toThrow('there are no tokens');
    expect(() => usageStatistics([0.5, 0.5], [0, 1, 0], 2, 1)).toThrow(
      '2 probabilities and 3 indices do not fit 2 experts and 1 per token',
    );
    expect(() => usageStatistics([0.5, 0.5], [2], 2, 1)).toThrow('token 0 chose expert 2, but experts are 0 to 1');
  });
});
