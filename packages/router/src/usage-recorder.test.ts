import { describe, expect, it } from 'vitest';
import { UsageRecorder, usageStatistics } from './index.js';

const sizes = { numExperts: 3, numExpertsPerTok: 2, seriesLength: 4 };
const first = { probabilities: [0.5, 0.25, 0.25, 0.25, 0.5, 0.25], indices: [0, 1, 1, 0] };
const second = { probabilities: [0.125, 0.125, 0.75], indices: [2, 0] };
const joined = {
  probabilities: [...first.probabilities, ...second.probabilities],
  indices: [...first.indices, ...second.indices],
};

describe('UsageRecorder', () => {
  it('counts batches as one long batch, each layer alone', () => {
    const recorder = new UsageRecorder(sizes);
    recorder.add(5, second);
    recorder.add(2, first);
    recorder.add(2, { ...second, dropped: 1 });
    const [two, five] = recorder.snapshot();
    expect([two!.layer, five!.layer]).toEqual([2, 5]);
    expect([two!.tokens, five!.tokens]).toEqual([3, 1]);
    expect(two!.usage).toEqual(usageStatistics(joined.probabilities, joined.indices, 3, 2, { dropped: 1 }));
    expect(five!.usage).toEqual(usageStatistics(second.probabilities, second.indices, 3, 2));
    expect(two!.loadOverTime).toEqual([
      { tokens: 2, load: [0.5, 0.5, 0] },
      { tokens: 1, load: [0.5, 0, 0.5] },
    ]);
  });

  it('leaves padding out, and a batch of nothing but padding', () => {
    const recorder = new UsageRecorder(sizes);
    recorder.add(0, { ...joined, mask: [1, 1, 0] });
    recorder.add(0, { ...second, mask: [0] });
    const [only] = recorder.snapshot();
    expect(only!.usage).toEqual(usageStatistics(first.probabilities, first.indices, 3, 2));
    expect(only!.loadOverTime.length).toBe(1);
  });

  it('covers all time in a series that never grows beyond its length', () => {
    const recorder = new UsageRecorder(sizes);
    for (let batch = 0; batch < 23; batch++) recorder.add(0, batch % 2 === 0 ? first : second);
    const { tokens, loadOverTime } = recorder.snapshot()[0]!;
    expect(tokens).toBe(12 * 2 + 11);
    expect(loadOverTime.length).toBeLessThanOrEqual(4);
    expect(loadOverTime.reduce((sum, point) => sum + point.tokens, 0)).toBe(tokens);
    // 23 batches in points of 8: of 4 pairs, 4 pairs, and the 7 that remain.
    expect(loadOverTime.map((point) => point.tokens)).toEqual([12, 12, 11]);
    for (const { load } of loadOverTime) expect(load.reduce((sum, share) => sum + share)).toBeCloseTo(1);
  });

  it('gives values that later batches do not change, and forgets when told', () => {
    const recorder = new UsageRecorder(sizes);
    recorder.add(0, first);
    const before = recorder.snapshot();
    const copy = structuredClone(before);
    recorder.add(0, second);
    expect(before).toEqual(copy);
    recorder.reset();
    expect(recorder.snapshot()).toEqual([]);
  });

  it('refuses wrong batches by layer and counts nothing of them', () => {
    const recorder = new UsageRecorder(sizes);
    expect(() => recorder.add(7, { ...first, indices: [0, 1, 1, 3] })).toThrow(
      'UsageRecorder.add: layer 7: token 1 chose expert 3, but experts are 0 to 2',
    );
    expect(recorder.snapshot()).toEqual([]);
    expect(() => new UsageRecorder({ ...sizes, seriesLength: 5 })).toThrow(
      'capacity must be an even number of 2 or more points, got 5.',
    );
  });
});
