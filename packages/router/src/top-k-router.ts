import * as tf from '@tensorflow/tfjs-core';
import { dims, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import { type RouterConfig, resolveRouterConfig } from './router-config.js';
import type { RoutePass, Router, Routing } from './routing.js';
import { takeChosen, topKIndices } from './top-k.js';

/**
 * Top-k gating: a linear gate, a softmax, the k best experts of every token (arXiv:1701.06538; Mixtral,
 * arXiv:2401.04088).
 */
export class TopKRouter implements Router {
  readonly config: RouterConfig;

  /** @param gate maps `hidden` to `numExperts` logits; owned by this router from now on. */
  constructor(
    readonly gate: LinearLayer,
    config: RouterConfig,
  ) {
    this.config = resolveRouterConfig(config);
    if (gate.outputSize !== config.numExperts) {
      throw new Error(
        `router: the gate gives ${gate.outputSize} logits but numExperts is ${config.numExperts}; they must be equal.`,
      );
    }
  }

  get hiddenSize(): number {
    return this.gate.inputSize;
  }

  get numExperts(): number {
    return this.config.numExperts;
  }

  get numExpertsPerTok(): number {
    return this.config.numExpertsPerTok;
  }

  route(hidden: tf.Tensor2D, { replay }: RoutePass = {}): Routing {
    dims('router.route: hidden', hidden, ['tokens', 'hidden'], { hidden: this.gate.inputSize });
    const { numExpertsPerTok, softmaxOrder, normTopkProb } = this.config;
    return tf.tidy(() => {
      const logits = this.gate.apply(hidden) as tf.Tensor2D;
      const probabilities = tf.softmax(logits);
      const indices = replay ? tf.clone(replay) : topKIndices(logits, numExpertsPerTok);
      const weights =
        softmaxOrder === 'after-top-k'
          ? tf.softmax(takeChosen(logits, indices))
          : chosenProbabilities(probabilities, indices, normTopkProb);
      return { logits, probabilities, indices, weights, gates: [tf.clone(logits)] };
    });
  }

  parameters(): Parameters {
    return this.gate.parameters();
  }

  buffers(): Parameters {
    return new Map();
  }

  dispose(): void {
    this.gate.dispose();
  }
}

function chosenProbabilities(probabilities: tf.Tensor2D, indices: tf.Tensor2D, normalise: boolean): tf.Tensor2D {
  const chosen = takeChosen(probabilities, indices);
  return normalise ? tf.div(chosen, tf.sum(chosen, -1, true)) : chosen;
}
