import * as tf from '@tensorflow/tfjs-core';
import { applyExperts, SwiGluExperts } from '@therapeutic-moe/experts';
import { swiGlu } from '@therapeutic-moe/kernels';
import { joinParameters, Linear, type Parameters, seedFor } from '@therapeutic-moe/nn';
import { type Routing, TopKRouter } from '@therapeutic-moe/router';
import type { ModelConfig } from './model-config.js';

/** The second half of a decoder layer. */
export interface FeedForward {
  /**
   * @param hidden `[tokens, hidden]`
   * @returns the output of the same shape, and where the tokens went if they were routed. Caller disposes.
   */
  apply(hidden: tf.Tensor2D): { output: tf.Tensor2D; routing?: Routing };
  parameters(): Parameters;
  dispose(): void;
}

/** Standard deviations of fresh weights. */
export interface Deviations {
  readonly inner: number;
  /** Of layers that write to the residual stream. */
  readonly residual: number;
}

/** A gated feed-forward without routing, `down(silu(gate x) * (up x))`. */
export class DenseFeedForward implements FeedForward {
  readonly gateUp: Linear;
  readonly down: Linear;

  constructor({ hiddenSize, intermediateSize }: ModelConfig, { inner, residual }: Deviations, seed: number) {
    this.gateUp = Linear.create(hiddenSize, 2 * intermediateSize, {
      deviation: inner,
      seed: seedFor(seed, 'gate_up_proj'),
    });
    this.down = Linear.create(intermediateSize, hiddenSize, { deviation: residual, seed: seedFor(seed, 'down_proj') });
  }

  apply(hidden: tf.Tensor2D): { output: tf.Tensor2D } {
    return { output: tf.tidy(() => this.down.apply(swiGlu(this.gateUp.apply(hidden) as tf.Tensor2D)) as tf.Tensor2D) };
  }

  parameters(): Parameters {
    return joinParameters({ 'mlp.gate_up_proj': this.gateUp, 'mlp.down_proj': this.down });
  }

  dispose(): void {
    this.gateUp.dispose();
    this.down.dispose();
  }
}

/** Router and experts. */
export class MixtureFeedForward implements FeedForward {
  readonly router: TopKRouter;
  readonly experts: SwiGluExperts;

  constructor(config: ModelConfig, { inner, residual }: Deviations, seed: number) {
    const { hiddenSize: hidden, intermediateSize: intermediate } = config;
    const { domains: _, ...routerConfig } = config.mixture!;
    const gate = Linear.create(hidden, routerConfig.numExperts, { deviation: inner, seed: seedFor(seed, 'gate') });
    this.router = new TopKRouter(gate, routerConfig);
    this.experts = SwiGluExperts.create(
      { experts: routerConfig.numExperts, hidden, intermediate },
      { deviation: inner, downDeviation: residual, seed: seedFor(seed, 'experts') },
    );
  }

  apply(hidden: tf.Tensor2D): { output: tf.Tensor2D; routing: Routing } {
    return tf.tidy(() => {
      const routing = this.router.route(hidden);
      return { output: applyExperts(hidden, routing, this.experts), routing };
    });
  }

  parameters(): Parameters {
    return joinParameters({ 'block_sparse_moe.gate': this.router, 'block_sparse_moe.experts': this.experts });
  }

  dispose(): void {
    this.router.dispose();
    this.experts.dispose();
  }
}
