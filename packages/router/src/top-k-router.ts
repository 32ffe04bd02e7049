import * as tf from '@tensorflow/tfjs-core';
import { float32Products } from '@therapeutic-moe/kernels';
import { dims, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import { checkPass } from './check-pass.js';
import { chosenWeights } from './chosen-weights.js';
import { limitToGroups } from './group-limit.js';
import { addNoise, jitter } from './noise.js';
import { type RouterConfig, resolveRouterConfig } from './router-config.js';
import type { RoutePass, Router, Routing } from './routing.js';
import { constantChoice, topKIndices } from './top-k.js';

/**
 * Top-k gating: a linear gate, a score for each expert, the k best experts of every token (arXiv:1701.06538; Mixtral,
 * arXiv:2401.04088; with sigmoid scores and groups DeepSeek-V3, arXiv:2412.19437).
 */
export class TopKRouter implements Router {
  readonly config: RouterConfig;
  /** `[experts]`, added to the scores for choosing and never to the weights; there when the config asks for it. */
  readonly balanceBias?: tf.Variable<tf.Rank.R1>;

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
    if (config.balanceBias) this.balanceBias = tf.tidy(() => tf.variable(tf.zeros([config.numExperts]), false));
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

  route(hidden: tf.Tensor2D, pass: RoutePass = {}): Routing {
    checkPass(hidden, pass, this);
    return tf.tidy(() => {
      const { gate, noisy } = this.#gateOutputs(hidden, pass.seed);
      // A softmax over log-sigmoids is the sigmoids divided by their sum.
      const logits = this.config.scoring === 'sigmoid' ? logSigmoid(noisy) : noisy;
      const probabilities = tf.softmax(logits);
      const scores = this.config.scoring === 'sigmoid' ? tf.sigmoid(noisy) : probabilities;
      const indices = pass.replay ? tf.clone(pass.replay) : this.#choose(logits, scores);
      const weights = chosenWeights({ logits, scores, indices, mask: pass.mask }, this.config);
      return { logits, probabilities, indices, weights, gates: [tf.clone(gate)] };
    });
  }

  /**
   * Moves the balance bias after a training step: down by `rate` for experts with more than their share of the load, up
   * for those with less (auxiliary-loss-free balancing, arXiv:2408.15664, algorithm 1).
   *
   * @param load `[experts]`, shares or counts of the choices of one step.
   * @throws when the config did not ask for a bias, or `load` does not fit.
   */
  updateBias(load: tf.Tensor1D, rate: number): void {
    const bias = this.balanceBias;
    if (!bias) throw new Error('router.updateBias: this router has no bias; set balanceBias to true in its config.');
    dims('router.updateBias: load', load, ['experts'], { experts: this.numExperts });
    if (!(rate > 0 && Number.isFinite(rate))) {
      throw new Error(`router.updateBias: rate must be a number above 0, got ${rate}; DeepSeek-V3 uses 0.001.`);
    }
    tf.tidy(() => bias.assign(tf.add(bias, tf.mul(tf.sign(tf.sub(tf.mean(load), load)), rate))));
  }

  parameters(): Parameters {
    return this.gate.parameters();
  }

  /** The balance bias under Hugging Face's name. */
  buffers(): Parameters {
    return new Map(this.balanceBias ? [['e_score_correction_bias', this.balanceBias]] : []);
  }

  dispose(): void {
    this.gate.dispose();
    this.balanceBias?.dispose();
  }

  #gateOutputs(hidden: tf.Tensor2D, seed?: number): { gate: tf.Tensor2D; noisy: tf.Tensor2D } {
    const { routerJitterNoise, gateNoise } = this.config;
    const input = routerJitterNoise && seed !== undefined ? jitter(hidden, routerJitterNoise, seed) : hidden;
    const gate = float32Products(() => this.gate.apply(input, { dropoutSeed: seed }) as tf.Tensor2D);
    return { gate, noisy: gateNoise && seed !== undefined ? addNoise(gate, gateNoise, seed) : gate };
  }

  /** Logits order experts as scores do, also where scores are too close for float32; only bias and groups need scores. */
  #choose(logits: tf.Tensor2D, scores: tf.Tensor2D): tf.Tensor2D {
    const { numExpertsPerTok: k, groups } = this.config;
    const bias = this.balanceBias;
    if (!bias && !groups) return topKIndices(logits, k);
    return constantChoice(scores, (x) => {
      const biased: tf.Tensor2D = bias ? tf.add(x, bias) : x;
      return tf.topk(groups ? limitToGroups(biased, groups) : biased, k).indices;
    });
  }
}

/** `tf.logSigmoid` reads its input after disposing it when its gradient is taken under a tidy. */
function logSigmoid(x: tf.Tensor2D): tf.Tensor2D {
  return tf.neg(tf.softplus(tf.neg(x)));
}
