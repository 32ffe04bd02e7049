import { describe, expect, it } from 'vitest';
import { type RouterConfig, resolveRouterConfig } from './index.js';

const good: RouterConfig = { numExperts: 5, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true };

describe('resolveRouterConfig', () => {
  it('returns the settings frozen', () => {
    const config = resolveRouterConfig(good);
    expect(config).toEqual(good);
    expect(Object.isFrozen(config)).toBe(true);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ numExperts: 0 }, 'router: numExperts must be a whole number of 1 or more, got 0.'],
    [{ numExpertsPerTok: 1.5 }, 'router: numExpertsPerTok must be a whole number of 1 or more, got 1.5.'],
    [
      { numExpertsPerTok: 7 },
      'numExpertsPerTok is 7 but numExperts is 5; a token cannot visit more experts than exist.',
    ],
    [{ softmaxOrder: 'never' }, "softmaxOrder must be 'before-top-k' or 'after-top-k', got 'never'."],
    [{ normTopkProb: 'yes' }, 'router: normTopkProb must be true or false, got yes.'],
    [{ normTopkProb: undefined }, 'router: normTopkProb must be true or false, got undefined.'],
    [{ softmaxOrder: 'after-top-k', normTopkProb: false }, "normTopkProb false needs softmaxOrder 'before-top-k'"],
    [
      { topK: 2 },
      "router: unknown key 'topK'; known are numExperts, numExpertsPerTok, softmaxOrder, normTopkProb, scoring,",
    ],
  ])('refuses %j', (change, message) => {
    expect(() => resolveRouterConfig({ ...good, ...change } as RouterConfig)).toThrow(message);
  });
});
