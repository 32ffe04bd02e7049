import { describe, expect, it } from 'vitest';
import { bootstrapInterval, wilsonInterval } from './interval.js';

const TABLE_TOLERANCE = 4; // decimals that published tables show

describe('wilsonInterval', () => {
  it.each([
    // Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('gives the published interval of %d in %d', (successes, n, low, high) => {
    const interval = wilsonInterval(successes, n);
    expect(interval.low).toBeCloseTo(low, TABLE_TOLERANCE);
    expect(interval.high).toBeCloseTo(high, TABLE_TOLERANCE);
  });

  it('mirrors successes and failures', () => {
    const few = wilsonInterval(3, 17);
    const many = wilsonInterval(14, 17);
    expect(many.low).toBeCloseTo(1 - few.high, 12);
    expect(many.high).toBeCloseTo(1 - few.low, 12);
    expect(wilsonInterval(17, 17).high).toBe(1);
  });

  it('refuses impossible counts', () => {
    expect(() => wilsonInterval(1, 0)).toThrow('wilsonInterval: need 0 <= successes <= n and n > 0, got 1 of 0.');
    expect(() => wilsonInterval(5, 4)).toThrow('got 5 of 4');
  });
});

describe('bootstrapInterval', () => {
  const values = Array.from({ length: 101 }, (_, index) => ((index * 37) % 101) / 10);
  const meanOf = (indices: Int32Array) =>
    indices.reduce((sum, index) => sum + (values[index] as number), 0) / indices.length;

  it('is the same for the same seed and another for another', () => {
    expect(bootstrapInterval(101, meanOf, 7)).toEqual(bootstrapInterval(101, meanOf, 7));
    expect(bootstrapInterval(101, meanOf, 8)).not.toEqual(bootstrapInterval(101, meanOf, 7));
  });

  it('agrees with the normal interval of a mean', () => {
    const interval = bootstrapInterval(101, meanOf, 1);
    const average = values.reduce((sum, value) => sum + value, 0) / 101;
    const error = Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / 101 / 101);
    expect(interval?.low).toBeCloseTo(average - 1.96 * error, 1);
    expect(interval?.high).toBeCloseTo(average + 1.96 * error, 1);
  });

  it('has no interval for one row', () => {
    expect(bootstrapInterval(1, () => 5, 1)).toBeUndefined();
  });
});
