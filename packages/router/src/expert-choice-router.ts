import * as tf from '@tensorflow/tfjs-core';
import { float32Products } from '@therapeutic-moe/kernels';
import { dims, type LinearLayer, type Parameters, refuseUnknownKeys } from '@therapeutic-moe/nn';
import { refuseCount, refuseFlag } from './check-config.js';
import { type ExpertChoice, expertChoice } from './expert-choice.js';
import type { RoutePass } from './routing.js';

/** How experts choose tokens. */
export interface ExpertChoiceConfig {
  readonly numExperts: number;
  /** Experts a token visits on average; an expert takes `ceil(capacityFactor * tokens / numExperts)`, padding counted among the tokens. */
  readonly capacityFactor: number;
  /** Whether the layer stands in a causal decoder. True is refused, with the reason. */
  readonly causal: boolean;
}

/** What an expert choice router returns; see `ExpertChoice`. A type, not an interface, so that `tf.tidy` can return it. */
export type ExpertChoiceRouting = ExpertChoice & {
  /** `[tokens, experts]`, with `softmax(logits) = probabilities`. */
  readonly logits: tf.Tensor2D;
  /** `[tokens, experts]`, rows sum to 1. */
  readonly probabilities: tf.Tensor2D;
  /** The raw outputs of the gate, for the z-loss. */
  readonly gates: tf.Tensor2D[];
};

/**
 * A gate whose experts choose their tokens (arXiv:2202.09368), for encoders and other layers that see everything. It is
 * not a `Router`: tokens have no fixed number of experts.
 */
export class ExpertChoiceRouter {
  readonly config: ExpertChoiceConfig;

  /** @param gate maps `hidden` to `numExperts` logits; owned by this router from now on. */
  constructor(
    readonly gate: LinearLayer,
    config: ExpertChoiceConfig,
  ) {
    this.config = resolveExpertChoiceConfig(config);
    if (gate.outputSize !== config.numExperts) {
      throw new Error(
        `expert choice: the gate gives ${gate.outputSize} logits but numExperts is ${config.numExperts}; they must be equal.`,
      );
    }
  }

  /** @param hidden `[tokens, hidden]` @throws when `hidden` or the mask do not fit. */
  route(hidden: tf.Tensor2D, { mask, seed }: Pick<RoutePass, 'mask' | 'seed'> = {}): ExpertChoiceRouting {
    const { tokens } = dims('expert choice: hidden', hidden, ['tokens', 'hidden'], { hidden: this.gate.inputSize });
    const { capacityFactor, numExperts } = this.config;
    const capacity = Math.min(tokens, Math.ceil((capacityFactor * tokens) / numExperts));
    return tf.tidy(() => {
      const logits = float32Products(() => this.gate.apply(hidden, { dropoutSeed: seed }) as tf.Tensor2D);
      const probabilities = tf.softmax(logits);
      return { logits, probabilities, gates: [tf.clone(logits)], ...expertChoice(probabilities, capacity, mask) };
    });
  }

  parameters(): Parameters {
    return this.gate.parameters();
  }

  dispose(): void {
    this.gate.dispose();
  }
}

function resolveExpertChoiceConfig(config: ExpertChoiceConfig): ExpertChoiceConfig {
  const { numExperts, capacityFactor, causal } = config;
  const where = 'expert choice';
  refuseUnknownKeys(where, config, ['numExperts', 'capacityFactor', 'causal']);
  refuseCount(where, { numExperts });
  if (!(Number.isFinite(capacityFactor) && capacityFactor > 0)) {
    throw new Error(`${where}: capacityFactor must be a number above 0, got ${String(capacityFactor)}.`);
  }
  refuseFlag(where, { causal });
  if (causal) {
    throw new Error(
      `${where}: causal is true, but an expert picks its tokens by comparing all of them, so a later token would change where an earlier one goes; use TopKRouter in a causal decoder.`,
    );
  }
  return Object.freeze({ numExperts, capacityFactor, causal });
}
