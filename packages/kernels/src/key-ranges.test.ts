import { describe, expect, it } from 'vitest';
import { documentRanges, paddingRanges } from './index.js';

describe('paddingRanges', () => {
  it('lets real tokens see each other, and padding nothing', () => {
    const { first, end } = paddingRanges([0, 1, 1, 1, 1, 0], 2, 3);
    expect([...first]).toEqual([0, 1, 1, 0, 0, 0]);
    expect([...end]).toEqual([0, 3, 3, 2, 2, 0]);
  });

  it('takes a row of padding alone', () => {
    expect([...paddingRanges([0, 0], 1, 2).end]).toEqual([0, 0]);
  });

  it.each<[number[], string]>([
    [[1, 1], 'mask must have batch * seq = 1 * 3 entries, got 2.'],
    [[1, 0, 1], 'row 0 has padding between real tokens'],
    [[1, 2, 1], 'mask must hold 0 and 1, got 2 at 1.'],
  ])('refuses %j', (mask, message) => {
    expect(() => paddingRanges(mask, 1, 3)).toThrow(message);
  });
});

describe('documentRanges', () => {
  it('lets tokens see those of their own document', () => {
    const { first, end } = documentRanges([0, 2, 3]);
    expect([...first]).toEqual([0, 0, 2]);
    expect([...end]).toEqual([2, 2, 3]);
  });

  it.each([[[0]], [[1, 2]], [[0, 2, 2]], [[0, 1.5]]])('refuses %j', (lengths) => {
    expect(() => documentRanges(lengths)).toThrow('cumulativeLengths must be 0 and then growing whole numbers');
  });
});
