import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededUniform } from './random.js';
import { applyRepetitionPenalty } from './repetition-penalty.js';
import { argmax, sampleToken } from './sample-token.js';
import { resolveSampling, type Sampling } from './sampling.js';
import { softmax } from './softmax.js';
import { applyTemperature } from './temperature.js';
import { applyTopK } from './top-k.js';
import { applyTopP } from './top-p.js';

const NEVER = Number.NEGATIVE_INFINITY;
const logitsOf = (probabilities: number[]): Float32Array => Float32Array.from(probabilities, Math.log);
const kept = (logits: Float32Array): number[] => [...logits.keys()].filter((id) => logits[id] !== NEVER);

function frequencies(logits: Float32Array, sampling: Sampling, draws: number): number[] {
  const random = seededUniform(11);
  const resolved = resolveSampling({ ...sampling, seed: 1 }, logits.length);
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counts[sampleToken(logits, new Set(), resolved, random)]++;
  return counts.map((count) => count / draws);
}

describe('sampleToken', () => {
  it('draws tokens as often as the softmax says', () => {
    // 20,000 draws: the standard error of a share is at most 0.0036, so 0.015 is four of them.
    const shares = frequencies(logitsOf([0.5, 0.3, 0.15, 0.05]), {}, 20_000);
    [0.5, 0.3, 0.15, 0.05].forEach((p, id) => {
      expect(Math.abs(shares[id] - p)).toBeLessThan(0.015);
    });
  });

  it('applies temperature before top-p, as Hugging Face does', () => {
    // At temperature 2 the shares are 0.379, 0.294, 0.207, 0.120: reaching 0.6 takes two tokens, at temperature 0.5 one.
    const logits = logitsOf([0.5, 0.3, 0.15, 0.05]);
    expect(frequencies(logits, { temperature: 2, topP: 0.6 }, 500).filter((share) => share > 0)).toHaveLength(2);
    expect(frequencies(logits, { temperature: 0.5, topP: 0.6 }, 500)).toEqual([1, 0, 0, 0]);
  });

  it('is greedy at temperature 0, the smaller id of two equals, penalty included', () => {
    const greedy = resolveSampling({ temperature: 0, repetitionPenalty: 2 }, 4);
    const never = (): number => {
      throw new Error('no draw is needed');
    };
    expect(sampleToken(Float32Array.of(1, 3, 3, 2), new Set(), greedy, never)).toBe(1);
    expect(sampleToken(Float32Array.of(1, 3, 2.5, 2), new Set([1]), greedy, never)).toBe(2);
  });

  it('never changes the logits it is given', () => {
    const logits = Float32Array.of(1, -2, 3, 0.5);
    const sampling = resolveSampling({ temperature: 0.7, topK: 2, topP: 0.9, repetitionPenalty: 1.3 }, 4);
    sampleToken(logits, new Set([0, 1]), sampling, seededUniform(3));
    expect([...logits]).toEqual([1, -2, 3, 0.5]);
  });

  it('never draws a token that the chain removed, at either end of the unit interval', () => {
    const sampling = resolveSampling({ topK: 2 }, 5);
    const logits = Float32Array.of(0, 5, NEVER, 4, 1);
    for (const u of [0, 0.5, 1 - 2 ** -53]) expect([1, 3]).toContain(sampleToken(logits, new Set(), sampling, () => u));
  });

  it('refuses logits without a choice', () => {
    const sampling = resolveSampling({}, 2);
    const draw = (...logits: number[]) => sampleToken(Float32Array.from(logits), new Set(), sampling, () => 0);
    expect(() => draw(NEVER, NEVER)).toThrow('expected at least one possible token, got -Infinity for all');
    expect(() => draw(1, Number.POSITIVE_INFINITY)).toThrow(
      'expected finite numbers from the model, got Infinity for token 1',
    );
  });

  it('survives a temperature near 0', () => {
    const sampling = resolveSampling({ temperature: 1e-30 }, 3);
    expect(sampleToken(Float32Array.of(1, 50, 49), new Set(), sampling, () => 0.9)).toBe(1);
  });
});

describe('the steps of the chain', () => {
  it('penalty: divides positive logits of seen tokens and multiplies negative ones', () => {
    expect([...applyRepetitionPenalty(Float32Array.of(2, -2, 2, -2), new Set([0, 1]), 2)]).toEqual([1, -4, 2, -2]);
  });

  it('temperature: keeps differences, divided', () => {
    expect([...applyTemperature(Float32Array.of(3, 1, NEVER), 0.5)]).toEqual([0, -4, NEVER]);
  });

  it('top-k: keeps exactly k, smaller ids of equals', () => {
    expect(kept(applyTopK(Float32Array.of(1, 3, 2, 2, 2), 2))).toEqual([1, 2]);
    expect(kept(applyTopK(Float32Array.of(1, 3), 5))).toEqual([0, 1]);
  });

  it('top-p: keeps the fewest that reach p, at least one', () => {
    const logits = logitsOf([0.1, 0.5, 0.15, 0.25]);
    expect(kept(applyTopP(logits, 0.49))).toEqual([1]);
    expect(kept(applyTopP(logits, 0.7))).toEqual([1, 3]);
    expect(kept(applyTopP(logits, 0.8))).toEqual([1, 2, 3]);
    expect(kept(applyTopP(logits, 1))).toEqual([0, 1, 2, 3]);
    expect(kept(applyTopP(logits, 1e-9))).toEqual([1]);
  });

  it('top-p equals sorting the whole vocabulary', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -40, max: 40 }), { minLength: 1, maxLength: 31 }),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        (tenths, p) => {
          const logits = Float32Array.from(tenths, (tenth) => tenth / 10);
          const probabilities = softmax(logits);
          const order = [...logits.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
          let sum = 0;
          const expected = order.filter((id) => {
            const needed = sum < p;
            sum += probabilities[id];
            return needed;
          });
          expect(kept(applyTopP(logits, p))).toEqual(expected.sort((a, b) => a - b));
        },
      ),
      { seed: 5 },
    );
  });

  it('argmax: the first of equals', () => {
    expect(argmax(Float32Array.of(-1, 4, 4))).toBe(1);
  });
});

describe('seededUniform', () => {
  it('gives neighbouring seeds unrelated first numbers', () => {
    const first = Array.from({ length: 1000 }, (_, seed) => seededUniform(seed)());
    const mean = first.reduce((a, b) => a + b, 0) / first.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.04); // four standard errors of a uniform mean
    expect(first.filter((u) => u < 0.1).length).toBeGreaterThan(60);
    expect(new Set(first).size).toBe(1000);
  });

  it('uses all 53 bits of a seed, and its sign', () => {
    const first = [5, -5, 5 + 2 ** 32, 5 + 2 ** 52].map((seed) => seededUniform(seed)());
    expect(new Set(first).size).toBe(4);
  });
});
