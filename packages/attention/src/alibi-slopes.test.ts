import { describe, expect, it } from 'vitest';
import { alibiSlopes } from './index.js';

describe('alibiSlopes', () => {
  it('halves from head to head for 8 heads, as the paper prints them', () => {
    expect(alibiSlopes(8)).toEqual([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]);
    expect(alibiSlopes(1)).toEqual([1 / 256]);
  });

  it('puts every other slope of twice as many heads behind those of the power of two below', () => {
    // transformers 5.18, build_alibi_tensor of BLOOM, 6 and 12 heads
    expect(alibiSlopes(6)).toEqual([1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8]);
    const twelve = alibiSlopes(12);
    expect(twelve.slice(0, 8)).toEqual(alibiSlopes(8));
    for (const [i, power] of [0.5, 1.5, 2.5, 3.5].entries()) expect(twelve[8 + i]).toBeCloseTo(2 ** -power, 15);
  });

  it.each([0, -3, 2.5, Number.NaN])('refuses %d heads', (heads) => {
    expect(() => alibiSlopes(heads)).toThrow(`alibiSlopes: heads must be a whole number of 1 or more, got ${heads}.`);
  });
});
