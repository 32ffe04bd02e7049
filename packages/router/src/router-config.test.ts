import { describe, expect, it } from 'vitest';
import { type RouterConfig, resolveRouterConfig } from './index.js';

const good: RouterConfig = { numExperts: 5, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true };
const grouped = { numGroups: 5, topGroups: 3, score: 'max' } as const;

describe('resolveRouterConfig', () => {
  it('returns the settings frozen', () => {
    const config = resolveRouterConfig(good);
    expect(config).toEqual(good);
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('keeps optional settings, frozen too, and leaves absent ones out', () => {
    const config = resolveRouterConfig({ ...good, groups: grouped, scoring: undefined, gateNoise: 0.5 });
    expect(config).toStrictEqual({ ...good, groups: grouped, gateNoise: 0.5 });
    expect(Object.isFrozen(config.groups)).toBe(true);
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
    [{ scoring: 'tanh' }, "router: scoring must be 'softmax' or 'sigmoid', got 'tanh'."],
    [
      { scoring: 'sigmoid', softmaxOrder: 'after-top-k' },
      "scoring 'sigmoid' needs softmaxOrder 'before-top-k'; there is no softmax to take after top-k.",
    ],
    [{ routedScalingFactor: 0 }, 'routedScalingFactor must be a number above 0, got 0; leave it out for 1.'],
    [{ routerJitterNoise: 1 }, 'routerJitterNoise must be above 0 and below 1, got 1; leave it out for none.'],
    [{ gateNoise: Number.NaN }, 'gateNoise must be a number above 0, got NaN; leave it out for none.'],
    [{ balanceBias: 1 }, 'router: balanceBias must be true or false, got 1.'],
    [{ groups: 3 }, 'router: groups must be an object of numGroups, topGroups and score, got 3.'],
    [{ groups: { ...grouped, size: 2 } }, "router: groups: unknown key 'size'"],
    [{ groups: { ...grouped, topGroups: 0 } }, 'router: groups: topGroups must be a whole number of 1 or more, got 0.'],
    [
      { groups: { ...grouped, numGroups: 2 } },
      'router: groups: numGroups is 2 but numExperts is 5; it must divide it, so that groups are alike.',
    ],
    [
      { groups: { ...grouped, topGroups: 7 } },
      'router: groups: topGroups is 7 but numGroups is 5; choose from as many groups as exist, or fewer.',
    ],
    [
      { groups: { ...grouped, topGroups: 1 } },
      'topGroups 1 of 1 experts leave 1 to choose from, but numExpertsPerTok is 2; raise topGroups.',
    ],
    [{ groups: { ...grouped, score: 'mean' } }, "score must be 'max' or 'sum-of-top-2', got 'mean'."],
    [
      { groups: { ...grouped, score: 'sum-of-top-2' } },
      "score 'sum-of-top-2' needs groups of 2 experts or more, got 1; use 'max'.",
    ],
  ])('refuses %j', (change, message) => {
    expect(() => resolveRouterConfig({ ...good, ...change } as RouterConfig)).toThrow(message);
  });
});
