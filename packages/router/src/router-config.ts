import { refuseUnknownKeys } from '@therapeutic-moe/nn';

/** How tokens choose experts. */
export interface RouterConfig {
  /** Number of experts to choose from. */
  readonly numExperts: number;
  /** How many experts each token visits. */
  readonly numExpertsPerTok: number;
  /**
   * `before-top-k`: softmax over all experts, then the k largest (Mixtral and Qwen in Hugging Face). `after-top-k`: the
   * k largest logits, then softmax over them. They are equal exactly when the first is renormalised.
   */
  readonly softmaxOrder: 'before-top-k' | 'after-top-k';
  /** With `before-top-k`: divide the k weights by their sum, so that they add up to 1. */
  readonly normTopkProb: boolean;
}

/** Checks a router's settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveRouterConfig(config: RouterConfig): RouterConfig {
  refuseUnknownKeys('router', config, ['numExperts', 'numExpertsPerTok', 'softmaxOrder', 'normTopkProb']);
  const { numExperts, numExpertsPerTok, softmaxOrder, normTopkProb } = config;
  if (!Number.isInteger(numExperts) || numExperts < 1) {
    throw new Error(`router: numExperts must be a whole number of 1 or more, got ${numExperts}.`);
  }
  if (!Number.isInteger(numExpertsPerTok) || numExpertsPerTok < 1) {
    throw new Error(`router: numExpertsPerTok must be a whole number of 1 or more, got ${numExpertsPerTok}.`);
  }
  if (numExpertsPerTok > numExperts) {
    throw new Error(
      `router: numExpertsPerTok is ${numExpertsPerTok} but numExperts is ${numExperts}; a token cannot visit more experts than exist.`,
    );
  }
  if (softmaxOrder !== 'before-top-k' && softmaxOrder !== 'after-top-k') {
    throw new Error(`router: softmaxOrder must be 'before-top-k' or 'after-top-k', got '${String(softmaxOrder)}'.`);
  }
  if (typeof normTopkProb !== 'boolean') {
    throw new Error(`router: normTopkProb must be true or false, got ${String(normTopkProb)}.`);
  }
  if (softmaxOrder === 'after-top-k' && !normTopkProb) {
    throw new Error(
      "router: normTopkProb false needs softmaxOrder 'before-top-k'; a softmax after top-k always sums to 1.",
    );
  }
  return Object.freeze({ numExperts, numExpertsPerTok, softmaxOrder, normTopkProb });
}
