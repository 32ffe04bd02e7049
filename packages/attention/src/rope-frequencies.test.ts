import { describe, expect, it } from 'vitest';
import { type RopeConfig, type RopeScaling, resolveRopeConfig, ropeFrequencies, ropeStays } from './index.js';

const HEAD_DIM = 14;
const THETA = 1000;
const M = 128;
/** float64 along two ways. */
const DIGITS = 12;

const rope = (scaling: RopeScaling): RopeConfig => resolveRopeConfig({ headDim: HEAD_DIM, theta: THETA, scaling });
const divisors = (scaling: RopeScaling, length = M) => {
  const [plain, scaled] = [rope({ type: 'none' }), rope(scaling)].map((config) => ropeFrequencies(config, length));
  return [...scaled!.frequencies].map((frequency, i) => plain!.frequencies[i]! / frequency);
};
const yarn = { type: 'yarn', factor: 8, originalMaxPositionEmbeddings: M } as const;
const dynamic = { type: 'dynamic', factor: 3, originalMaxPositionEmbeddings: M } as const;
const longrope: RopeScaling = {
  type: 'longrope',
  factor: 4,
  originalMaxPositionEmbeddings: M,
  shortFactor: [1, 1, 1, 1, 1, 1, 2],
  longFactor: [1, 2, 3, 4, 5, 6, 7],
};

describe('ropeFrequencies', () => {
  it('linear: divides every pair by the factor', () => {
    for (const divisor of divisors({ type: 'linear', factor: 5 })) expect(divisor).toBeCloseTo(5, DIGITS);
  });

  it('ntk: leaves the fastest pair and divides the slowest by the factor, evenly in between', () => {
    const found = divisors({ type: 'ntk', factor: 64 });
    for (const [i, divisor] of found.entries()) expect(Math.log2(divisor)).toBeCloseTo(i, DIGITS); // 64 = 2^6, 7 pairs
  });

  it('dynamic: is unscaled up to the original length, and ntk of a growing factor past it', () => {
    for (const length of [1, 100, M])
      for (const divisor of divisors(dynamic, length)) expect(divisor).toBeCloseTo(1, DIGITS);
    expect(divisors(dynamic, 2 * M)).toEqual(divisors({ type: 'ntk', factor: 4 })); // 3 * 2 - (3 - 1)
  });

  it('yarn: keeps fast pairs, divides slow ones, and mixes the frequencies between pair numbers worked out by hand', () => {
    // The pair that turns b times: i = 7 ln(M / (2 pi b)) / ln(theta).
    const pair = (b: number) => (7 * Math.log(M / (2 * Math.PI * b))) / Math.log(THETA);
    const [low, high] = [pair(6), pair(0.7)]; // 1.24 and 3.42
    const ramp = Array.from({ length: 7 }, (_, i) => Math.min(1, Math.max(0, (i - low) / (high - low))));
    const found = divisors({ ...yarn, betaFast: 6, betaSlow: 0.7, truncate: false });
    for (const [i, r] of ramp.entries()) expect(1 / found[i]!).toBeCloseTo(1 - r + r / 8, DIGITS);
  });

  it('yarn: lengthens pairs by the attention factor', () => {
    const factorOf = (scaling: RopeScaling) => ropeFrequencies(rope(scaling), M).attentionFactor;
    expect(factorOf(yarn)).toBeCloseTo(0.1 * Math.log(8) + 1, DIGITS);
    expect(factorOf({ ...yarn, factor: 1 })).toBe(1);
    expect(factorOf({ ...yarn, attentionFactor: 1.5 })).toBe(1.5);
    expect(factorOf({ ...yarn, mscale: 1, mscaleAllDim: 1 })).toBe(1);
    expect(factorOf({ ...yarn, mscale: 2, mscaleAllDim: 1 })).toBeCloseTo(
      (0.2 * Math.log(8) + 1) / (0.1 * Math.log(8) + 1),
      DIGITS,
    );
  });

  it('llama3: keeps short waves, divides long ones, and mixes the frequencies of those between', () => {
    const found = divisors({
      type: 'llama3',
      factor: 8,
      originalMaxPositionEmbeddings: M,
      lowFreqFactor: 1,
      highFreqFactor: 4,
    });
    for (const [i, divisor] of found.entries()) {
      const waves = M / (2 * Math.PI * THETA ** (i / 7));
      const share = Math.min(1, Math.max(0, (waves - 1) / 3));
      expect(1 / divisor).toBeCloseTo(share + (1 - share) / 8, DIGITS);
    }
    expect(new Set(found.map((divisor) => divisor.toFixed(6))).size).toBeGreaterThan(3);
  });

  it('longrope: divides by one list up to the original length and by the other past it', () => {
    for (const [length, list] of [
      [M, longrope.shortFactor],
      [M + 1, longrope.longFactor],
    ] as const)
      for (const [i, divisor] of divisors(longrope, length).entries()) expect(divisor).toBeCloseTo(list[i]!, DIGITS);
    expect(ropeFrequencies(rope(longrope), 1).attentionFactor).toBeCloseTo(Math.sqrt(1 + 2 / 7), DIGITS); // ln 4 / ln 128
  });
});

describe('ropeStays', () => {
  it.each<[RopeScaling, from: number, to: number, stays: boolean]>([
    [{ type: 'none' }, 1, 1000, true],
    [yarn, 1, 1000, true],
    [dynamic, 1, M, true],
    [dynamic, M, M + 1, false],
    [dynamic, M + 1, M + 2, false],
    [longrope, 1, M, true],
    [longrope, M, M + 1, false],
    [longrope, M + 1, 1000, true],
  ])('%j from %d to %d tokens: %s', (scaling, from, to, stays) => {
    expect(ropeStays(rope(scaling), from, to)).toBe(stays);
    const [before, after] = [from, to].map((length) => ropeFrequencies(rope(scaling), length));
    expect(before!.frequencies.every((frequency, i) => frequency === after!.frequencies[i])).toBe(stays);
  });
});
