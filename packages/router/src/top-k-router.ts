import * as tf from '@tensorflow/tfjs-core';
import { dims, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import { type RouterConfig, resolveRouterConfig } from './router-config.js';
import { takeChosen, topKIndices } from './top-k.js';

/**
 * Where each token goes. All tensors belong to whoever called `route`. A type, not an interface, so that `tf.tidy` can
 * return it.
 */
export type Routing = {
  /** Gate logits `[tokens, experts]`. */
  readonly logits: tf.Tensor2D;
  /** Softmax of the logits over all experts `[tokens, experts]`. */
  readonly probabilities: tf.Tensor2D;
  /** Chosen experts, best first, int32 `[tokens, k]`. */
  readonly indices: tf.Tensor2D;
  /** Weight of each chosen expert `[tokens, k]`. */
  readonly weights: tf.Tensor2D;
};

/**
 * Top-k gating: a linear gate, a softmax, the k best experts of every token (arXiv:1701.06538; Mixtral,
 * arXiv:2401.04088).
 */
export class TopKRouter {
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

  /** @param hidden `[tokens, hidden]` @throws when `hidden` has another width. */
  route(hidden: tf.Tensor2D): Routing {
    dims('router.route: hidden', hidden, ['tokens', 'hidden'], { hidden: this.gate.inputSize });
    const { numExpertsPerTok, softmaxOrder, normTopkProb } = this.config;
    return tf.tidy(() => {
      const logits = this.gate.apply(hidden) as tf.Tensor2D;
      const probabilities = tf.softmax(logits);
      const indices = topKIndices(logits, numExpertsPerTok);
      const weights =
        softmaxOrder === 'after-top-k'
          ? tf.softmax(takeChosen(logits, indices))
          : chosenProbabilities(probabilities, indices, normTopkProb);
      return { logits, probabilities, indices, weights };
    });
  }

  parameters(): Parameters {
    return this.gate.parameters();
  }

  dispose(): void {
    this.gate.dispose();
  }
}

function chosenProbabilities(probabilities: tf.Tensor2D, indices: tf.Tensor2D, normalise: boolean): tf.Tensor2D {
  const chosen = takeChosen(probabilities, indices);
  return normalise ? tf.div(chosen, tf.sum(chosen, -1, true)) : chosen;
}
