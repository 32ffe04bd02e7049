import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { refuseCount, refuseFlag, refuseMoreThan, refuseUnlessDivides } from './check-config.js';
import type { GroupLimit } from './group-limit.js';

/** How tokens choose experts. An absent field means that the feature is off. */
export interface RouterConfig {
  /** Number of experts to choose from. */
  readonly numExperts: number;
  /** How many experts each token visits. */
  readonly numExpertsPerTok: number;
  /**
   * `before-top-k`: scores over all experts, then the k largest (Mixtral and Qwen in Hugging Face). `after-top-k`: the k
   * largest logits, then softmax over them. They are equal exactly when the first is renormalised.
   */
  readonly softmaxOrder: 'before-top-k' | 'after-top-k';
  /** With `before-top-k`: divide the k weights by their sum, so that they add up to 1. */
  readonly normTopkProb: boolean;
  /** `softmax` (when absent): experts compete for a token. `sigmoid`: each is scored alone (DeepSeek-V3). */
  readonly scoring?: 'softmax' | 'sigmoid';
  /** Factor on the weights, after renormalising (DeepSeek-V3: 2.5). */
  readonly routedScalingFactor?: number;
  /** Each token chooses within its best groups of experts only. */
  readonly groups?: GroupLimit;
  /** Training: each input of the gate is multiplied by a uniform number within this of 1 (Switch Transformer: 0.01). */
  readonly routerJitterNoise?: number;
  /** Training: standard deviation of the Gaussian noise added to the gate's outputs. */
  readonly gateNoise?: number;
  /** Keep a bias per expert that changes the choice and never the weights; `updateBias` moves it. */
  readonly balanceBias?: boolean;
}

const known: readonly (keyof RouterConfig)[] = [
  'numExperts',
  'numExpertsPerTok',
  'softmaxOrder',
  'normTopkProb',
  'scoring',
  'routedScalingFactor',
  'groups',
  'routerJitterNoise',
  'gateNoise',
  'balanceBias',
];

/** Checks a router's settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveRouterConfig(config: RouterConfig): RouterConfig {
  refuseUnknownKeys('router', config, known);
  const { numExperts, numExpertsPerTok, softmaxOrder, normTopkProb, groups } = config;
  refuseCount('router', { numExperts, numExpertsPerTok });
  refuseMoreThan('router', { numExpertsPerTok }, { numExperts }, 'a token cannot visit more experts than exist');
  if (softmaxOrder !== 'before-top-k' && softmaxOrder !== 'after-top-k') {
    throw new Error(`router: softmaxOrder must be 'before-top-k' or 'after-top-k', got '${String(softmaxOrder)}'.`);
  }
  refuseFlag('router', { normTopkProb });
  if (softmaxOrder === 'after-top-k' && !normTopkProb) {
    throw new Error(
      "router: normTopkProb false needs softmaxOrder 'before-top-k'; a softmax after top-k always sums to 1.",
    );
  }
  checkScoring(config);
  checkNoise(config);
  if (config.balanceBias !== undefined) refuseFlag('router', { balanceBias: config.balanceBias });
  if (groups !== undefined) checkGroups(groups, config);
  const present = Object.entries(config).filter(([, value]) => value !== undefined);
  return Object.freeze({
    ...(Object.fromEntries(present) as unknown as RouterConfig),
    ...(groups ? { groups: Object.freeze({ ...groups }) } : {}),
  });
}

function checkScoring({ scoring = 'softmax', softmaxOrder, routedScalingFactor = 1 }: RouterConfig): void {
  if (scoring !== 'softmax' && scoring !== 'sigmoid') {
    throw new Error(`router: scoring must be 'softmax' or 'sigmoid', got '${String(scoring)}'.`);
  }
  if (scoring === 'sigmoid' && softmaxOrder === 'after-top-k') {
    throw new Error(
      "router: scoring 'sigmoid' needs softmaxOrder 'before-top-k'; there is no softmax to take after top-k.",
    );
  }
  if (!(Number.isFinite(routedScalingFactor) && routedScalingFactor > 0)) {
    throw new Error(
      `router: routedScalingFactor must be a number above 0, got ${String(routedScalingFactor)}; leave it out for 1.`,
    );
  }
}

function checkNoise({ routerJitterNoise, gateNoise }: RouterConfig): void {
  if (routerJitterNoise !== undefined && !(routerJitterNoise > 0 && routerJitterNoise < 1)) {
    throw new Error(
      `router: routerJitterNoise must be above 0 and below 1, got ${String(routerJitterNoise)}; leave it out for none.`,
    );
  }
  if (gateNoise !== undefined && !(Number.isFinite(gateNoise) && gateNoise > 0)) {
    throw new Error(`router: gateNoise must be a number above 0, got ${String(gateNoise)}; leave it out for none.`);
  }
}

function checkGroups(groups: GroupLimit, { numExperts, numExpertsPerTok }: RouterConfig): void {
  if (typeof groups !== 'object' || groups === null) {
    throw new Error(`router: groups must be an object of numGroups, topGroups and score, got ${String(groups)}.`);
  }
  refuseUnknownKeys('router: groups', groups, ['numGroups', 'topGroups', 'score']);
  const { numGroups, topGroups, score } = groups;
  refuseCount('router: groups', { numGroups, topGroups });
  refuseUnlessDivides('router: groups', { numGroups }, { numExperts });
  refuseMoreThan('router: groups', { topGroups }, { numGroups }, 'choose from as many groups as exist, or fewer');
  const size = numExperts / numGroups;
  if (topGroups * size < numExpertsPerTok) {
    throw new Error(
      `router: groups: topGroups ${topGroups} of ${size} experts leave ${topGroups * size} to choose from, but numExpertsPerTok is ${numExpertsPerTok}; raise topGroups.`,
    );
  }
  if (score !== 'max' && score !== 'sum-of-top-2') {
    throw new Error(`router: groups: score must be 'max' or 'sum-of-top-2', got '${String(score)}'.`);
  }
  if (score === 'sum-of-top-2' && size < 2) {
    throw new Error(`router: groups: score 'sum-of-top-2' needs groups of 2 experts or more, got 1; use 'max'.`);
  }
}
