import { describe, expect, it } from 'vitest';
import { clipScale, cosineSchedule } from './index.js';

describe('cosineSchedule', () => {
  it('rises to the peak at the last warm-up step and falls to the final share', () => {
    const rate = cosineSchedule({ steps: 13, warmupSteps: 3, learningRate: 0.6, finalFraction: 0.1 });
    expect(rate(1)).toBeCloseTo(0.2);
    expect(rate(3)).toBeCloseTo(0.6);
    expect(rate(8)).toBeCloseTo(0.6 * 0.55);
    expect(rate(13)).toBeCloseTo(0.06);
  });

  it('refuses a warm-up that never reaches the peak', () => {
    expect(() => cosineSchedule({ steps: 675, warmupSteps: 1000, learningRate: 1e-3 })).toThrow(
      'cosineSchedule: warmupSteps is 1000 but steps is 675',
    );
    expect(() => cosineSchedule({ steps: 5, warmupSteps: 1, learningRate: 0 })).toThrow(
      'learningRate must be a positive number, got 0',
    );
  });
});

describe('clipScale', () => {
  it('scales a long gradient to the limit and leaves a short one', () => {
    expect([clipScale(4, 1), clipScale(0.5, 1), clipScale(4, 0)]).toEqual([0.25, 1, 1]);
  });
});
