import * as tf from '@tensorflow/tfjs-core';
import { type Parameters, refuseUnknownKeys } from '@therapeutic-moe/nn';
import { refuseCount, refuseFlag, refuseMoreThan, refuseUnlessDivides } from './check-config.js';
import { checkPass } from './check-pass.js';
import { chosenWeights } from './chosen-weights.js';
import { type JointLogits, jointLogits } from './joint-logits.js';
import type { RoutePass, Router, Routing } from './routing.js';
import { closeOthers, constantChoice, topKMask } from './top-k.js';
import { applyGates, checkGates, gateParameters, type TwoLevelGates } from './two-level-gates.js';

/** How a token chooses groups, then experts. */
export interface TwoStageConfig {
  readonly numExperts: number;
  /** Groups of equal size; a divisor of `numExperts`. */
  readonly numGroups: number;
  /** How many groups each token visits. */
  readonly topGroups: number;
  /** How many experts it visits in each of them. */
  readonly topExpertsPerGroup: number;
  /** Divide the k weights by their sum, so that they add up to 1. */
  readonly normTopkProb: boolean;
}

/**
 * Two-stage top-k: a group gate chooses groups, an expert gate chooses experts inside each chosen group, and the weight
 * is `p(group) p(expert | group)`. Unlike the group-limited top-k of DeepSeek-V2, groups have a gate of their own and
 * every chosen group is visited equally often, so the traffic to each is known (the sparse two-level gating of
 * arXiv:1701.06538, appendix B).
 */
export class TwoStageRouter implements Router {
  readonly config: TwoStageConfig;

  /** @param gates owned by this router from now on. */
  constructor(
    readonly gates: TwoLevelGates,
    config: TwoStageConfig,
  ) {
    this.config = resolveTwoStageConfig(config);
    checkGates(gates, config);
  }

  get hiddenSize(): number {
    return this.gates.group.inputSize;
  }

  get numExperts(): number {
    return this.config.numExperts;
  }

  get numExpertsPerTok(): number {
    return this.config.topGroups * this.config.topExpertsPerGroup;
  }

  route(hidden: tf.Tensor2D, pass: RoutePass = {}): Routing {
    checkPass(hidden, pass, this);
    return tf.tidy(() => {
      const gates = applyGates(this.gates, hidden, pass.seed);
      const logs = jointLogits(...gates);
      const probabilities = tf.softmax(logs.joint);
      const indices = pass.replay ? tf.clone(pass.replay) : this.#choose(logs);
      const weights = chosenWeights(
        { logits: logs.joint, scores: probabilities, indices, mask: pass.mask },
        this.config,
      );
      return { logits: logs.joint, probabilities, indices, weights, gates };
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

  /** Of the experts that are among the best of one of the best groups, all k, best joint first. */
  #choose({ group, within, joint }: JointLogits): tf.Tensor2D {
    const { topGroups, topExpertsPerGroup } = this.config;
    const groupOpen = tf.reshape(topKMask(group, topGroups), [-1, 1]); // [tokens * groups, 1]
    const open = tf.reshape(tf.mul(topKMask(within, topExpertsPerGroup), groupOpen), joint.shape);
    return constantChoice(joint, (x) => tf.topk(closeOthers(x, open), this.numExpertsPerTok).indices);
  }
}

/** Checks the settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveTwoStageConfig(config: TwoStageConfig): TwoStageConfig {
  const { numExperts, numGroups, topGroups, topExpertsPerGroup, normTopkProb } = config;
  const where = 'two-stage router';
  refuseUnknownKeys(where, config, ['numExperts', 'numGroups', 'topGroups', 'topExpertsPerGroup', 'normTopkProb']);
  refuseCount(where, { numExperts, numGroups, topGroups, topExpertsPerGroup });
  refuseUnlessDivides(where, { numGroups }, { numExperts });
  refuseMoreThan(where, { topGroups }, { numGroups }, 'a token cannot visit more groups than exist');
  const groupSize = numExperts / numGroups;
  refuseMoreThan(where, { topExpertsPerGroup }, { groupSize }, 'a token cannot visit more experts than a group has');
  refuseFlag(where, { normTopkProb });
  return Object.freeze({ numExperts, numGroups, topGroups, topExpertsPerGroup, normTopkProb });
}
