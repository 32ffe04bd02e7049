import { describe, expect, it } from 'vitest';
import { resolveSampling, type Sampling } from './sampling.js';

describe('resolveSampling', () => {
  it('fills in defaults that change nothing', () => {
    expect(resolveSampling({ seed: 7 }, 11)).toEqual({
      temperature: 1,
      topP: 1,
      topK: Number.POSITIVE_INFINITY,
      repetitionPenalty: 1,
      seed: 7,
      maxTokens: Number.POSITIVE_INFINITY,
      stopTokens: [],
    });
  });

  it.each<[object, string]>([
    [{ temperature: -0.5 }, 'temperature: expected a number from 0 up, got -0.5'],
    [{ temperature: Number.NaN }, 'temperature: expected a number from 0 up'],
    [{ temperature: '1' }, 'temperature: expected a number from 0 up, got "1"'],
    [{ topP: 0 }, 'topP: expected a number above 0 and up to 1 (1 keeps all tokens), got 0'],
    [{ topP: 1.1 }, 'topP: expected'],
    [{ topK: 0 }, 'topK: expected a whole number from 1 up, or none to keep all tokens, got 0'],
    [{ topK: 2.5 }, 'topK: expected a whole number'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty: expected a number above 0 (1 is off), got 0'],
    [{ seed: 0.5 }, 'seed: expected a whole number, got 0.5'],
    [{ maxTokens: 0 }, 'maxTokens: expected a whole number from 1 up, got 0'],
    [{ stopTokens: [3, 11] }, 'stopTokens: expected ids from 0 to 10, got [3,11]'],
    [{ stopTokens: 3 }, 'stopTokens: expected ids from 0 to 10, got 3'],
    [{ top_p: 0.5 }, 'expected sampling fields temperature, topP, topK'],
  ])('refuses %j', (sampling, message) => {
    expect(() => resolveSampling(sampling as Sampling, 11)).toThrow(message);
  });
});
