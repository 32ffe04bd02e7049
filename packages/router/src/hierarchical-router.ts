import * as tf from '@tensorflow/tfjs-core';
import { type Parameters, refuseUnknownKeys } from '@therapeutic-moe/nn';
import { refuseCount, refuseFlag, refuseMoreThan, refuseUnlessDivides } from './check-config.js';
import { checkPass } from './check-pass.js';
import { chosenWeights } from './chosen-weights.js';
import { jointLogits } from './joint-logits.js';
import type { RoutePass, Router, Routing } from './routing.js';
import { topKIndices } from './top-k.js';
import { applyGates, checkGates, gateParameters, type TwoLevelGates } from './two-level-gates.js';

/** How a two-level mixture chooses. */
export interface HierarchicalConfig {
  readonly numExperts: number;
  /** Groups of equal size; a divisor of `numExperts`. */
  readonly numGroups: number;
  /** How many experts each token visits, of any groups. */
  readonly numExpertsPerTok: number;
  /** Divide the k weights by their sum, so that they add up to 1. */
  readonly normTopkProb: boolean;
}

/**
 * Two-level hierarchical mixture: one gate gives `p(group)`, another `p(expert | group)`, and a token visits the k
 * experts with the largest joint probability, wherever they are (Jordan and Jacobs, "Hierarchical mixtures of experts
 * and the EM algorithm", 1994; sparse in Shazeer et al., arXiv:1701.06538, appendix B).
 */
export class HierarchicalRouter implements Router {
  readonly config: HierarchicalConfig;

  /** @param gates owned by this router from now on. */
  constructor(
    readonly gates: TwoLevelGates,
    config: HierarchicalConfig,
  ) {
    this.config = resolveHierarchicalConfig(config);
    checkGates(gates, config);
  }

  get hiddenSize(): number {
    return this.gates.group.inputSize;
  }

  get numExperts(): number {
    return this.config.numExperts;
  }

  get numExpertsPerTok(): number {
    return this.config.numExpertsPerTok;
  }

  route(hidden: tf.Tensor2D, pass: RoutePass = {}): Routing {
    checkPass(hidden, pass, this);
    return tf.tidy(() => {
      const gates = applyGates(this.gates, hidden, pass.seed);
      const { joint: logits } = jointLogits(...gates);
      const probabilities = tf.softmax(logits);
      const indices = pass.replay ? tf.clone(pass.replay) : topKIndices(logits, this.numExpertsPerTok);
      const weights = chosenWeights({ logits, scores: probabilities, indices, mask: pass.mask }, this.config);
      return { logits, probabilities, indices, weights, gates };
    });
  }

  parameters(): Parameters {
    return gateParameters(this.gates);
  }

  buffers(): Parameters {
    return new Map();
  }

  dispose(): void {
    this.gates.group.dispose();
    this.gates.expert.dispose();
  }
}

/** Checks the settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveHierarchicalConfig(config: HierarchicalConfig): HierarchicalConfig {
  const { numExperts, numGroups, numExpertsPerTok, normTopkProb } = config;
  const where = 'hierarchical router';
  refuseUnknownKeys(where, config, ['numExperts', 'numGroups', 'numExpertsPerTok', 'normTopkProb']);
  refuseCount(where, { numExperts, numGroups, numExpertsPerTok });
  refuseUnlessDivides(where, { numGroups }, { numExperts });
  refuseMoreThan(where, { numExpertsPerTok }, { numExperts }, 'a token cannot visit more experts than exist');
  refuseFlag(where, { normTopkProb });
  return Object.freeze({ numExperts, numGroups, numExpertsPerTok, normTopkProb });
}
