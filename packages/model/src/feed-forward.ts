import * as tf from '@tensorflow/tfjs-core';
import {
  applyExperts,
  applyWithCapacity,
  type ExpertPass,
  type Experts,
  type SharedExpert,
  SwiGluExperts,
} from '@therapeutic-moe/experts';
import { swiGlu } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  joinParameters,
  type LayerFactory,
  type LinearLayer,
  type Parameters,
  seedFor,
} from '@therapeutic-moe/nn';
import {
  type CapacityConfig,
  expertCapacity,
  type RoutePass,
  type Router,
  type Routing,
  TopKRouter,
} from '@therapeutic-moe/router';
import { expertStacks, gatedLinears, type OwnedLinear, type OwnedStack, sharedLinears } from './adapter-slots.js';
import type { ModelConfig } from './model-config.js';

/** What a pass tells a feed-forward besides the hidden states. */
export interface FeedForwardPass extends RoutePass {
  /** How many tokens the mask leaves; absent: all. */
  readonly realTokens?: number;
  /** What linears and stacks with adapters are told. */
  readonly context?: ApplyContext;
}

/** A type, not an interface, so that `tf.tidy` can return it. */
export type FeedForwardOutput = {
  /** `[tokens, hidden]` */
  readonly output: tf.Tensor2D;
  /** Where the tokens went, if they were routed. */
  readonly routing?: Routing;
  /** `[experts]` how many choices found no place, where places were limited. */
  readonly overflow?: tf.Tensor1D;
};

/** The second half of a decoder layer. */
export interface FeedForward {
  /** @param hidden `[tokens, hidden]` @returns tensors that the caller disposes. */
  apply(hidden: tf.Tensor2D, pass?: FeedForwardPass): FeedForwardOutput;
  /** What is trained. */
  parameters(): Parameters;
  /** What is saved with the parameters but not trained by gradients. */
  buffers(): Parameters;
  /** The linears that can be adapted, by transformers' paths in the layer. */
  linears(): ReadonlyMap<string, OwnedLinear>;
  /** The stacks of expert matrices that can be adapted, likewise. */
  stacks(): ReadonlyMap<string, OwnedStack>;
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
  /** @param gateUp `[hidden, 2 * intermediate]`, gate first. @param down `[intermediate, hidden]`. Both owned from now on. */
  constructor(
    public gateUp: LinearLayer,
    public down: LinearLayer,
  ) {}

  /** @param layers makes the two matrices. */
  static create(
    { hiddenSize, intermediateSize }: ModelConfig,
    { inner, residual }: Deviations,
    seed: number,
    layers: LayerFactory,
  ): DenseFeedForward {
    const matrix = (path: string, inputSize: number, outputSize: number, deviation: number) =>
      layers.linear(path, inputSize, outputSize, { deviation, seed: seedFor(seed, path) });
    return new DenseFeedForward(
      matrix('gate_up_proj', hiddenSize, 2 * intermediateSize, inner),
      matrix('down_proj', intermediateSize, hiddenSize, residual),
    );
  }

  apply(hidden: tf.Tensor2D, { context }: FeedForwardPass = {}): { output: tf.Tensor2D } {
    const output = tf.tidy(() => this.down.apply(swiGlu(this.gateUp.apply(hidden, context) as tf.Tensor2D), context));
    return { output: output as tf.Tensor2D };
  }

  parameters(): Parameters {
    return joinParameters({ 'mlp.gate_up_proj': this.gateUp, 'mlp.down_proj': this.down });
  }

  buffers(): Parameters {
    return new Map();
  }

  linears(): Map<string, OwnedLinear> {
    return gatedLinears('mlp', this);
  }

  stacks(): Map<string, OwnedStack> {
    return new Map();
  }

  dispose(): void {
    this.gateUp.dispose();
    this.down.dispose();
  }
}

/** What a mixture is made of; it owns them. */
export interface MixtureParts {
  readonly router: Router;
  readonly experts: Experts;
  /** Most tokens per expert. Absent: no limit. */
  readonly capacity?: CapacityConfig;
  /** Visited by every token. Absent: none. */
  readonly sharedExpert?: SharedExpert;
}

/** Router and experts. */
export class MixtureFeedForward implements FeedForward {
  readonly router: Router;
  readonly experts: Experts;
  readonly capacity?: CapacityConfig;
  readonly sharedExpert?: SharedExpert;

  constructor({ router, experts, capacity, sharedExpert }: MixtureParts) {
    this.router = router;
    this.experts = experts;
    if (capacity) this.capacity = capacity;
    if (sharedExpert) this.sharedExpert = sharedExpert;
  }

  apply(hidden: tf.Tensor2D, pass: FeedForwardPass = {}): FeedForwardOutput & { routing: Routing } {
    return tf.tidy(() => {
      const routing = this.router.route(hidden, pass);
      const { output, overflow } = this.#dispatch(hidden, routing, pass);
      const whole = this.sharedExpert ? tf.add(output, this.#shared(this.sharedExpert, hidden, pass)) : output;
      return { output: whole as tf.Tensor2D, routing, ...(overflow && { overflow }) };
    });
  }

  /**
   * Moves the router's balance bias, where it has one.
   *
   * @param load `[experts]`, share of each in a step's choices.
   */
  balance(load: readonly number[], rate: number): void {
    const { router } = this;
    if (router instanceof TopKRouter && router.balanceBias)
      tf.tidy(() => router.updateBias(tf.tensor1d([...load]), rate));
  }

  parameters(): Parameters {
    const parts = joinParameters({
      'block_sparse_moe.gate': this.router,
      'block_sparse_moe.experts': this.experts,
    });
    for (const [name, variable] of this.sharedExpert?.parameters() ?? [])
      parts.set(`block_sparse_moe.${name}`, variable);
    return parts;
  }

  buffers(): Parameters {
    return new Map([...this.router.buffers()].map(([name, buffer]) => [`block_sparse_moe.gate.${name}`, buffer]));
  }

  linears(): Map<string, OwnedLinear> {
    return this.sharedExpert ? sharedLinears(this.sharedExpert) : new Map();
  }

  /** Of gated experts; other kinds have no counterpart in PEFT. */
  stacks(): Map<string, OwnedStack> {
    return this.experts instanceof SwiGluExperts ? expertStacks(this.experts) : new Map();
  }

  dispose(): void {
    this.router.dispose();
    this.experts.dispose();
    this.sharedExpert?.dispose();
  }

  /** Where every token of the pass has a place in any expert, nothing can be dropped and the cheaper form serves. */
  #dispatch(
    hidden: tf.Tensor2D,
    routing: Routing,
    { mask, realTokens, seed, sequences, cache, context }: FeedForwardPass,
  ): FeedForwardOutput {
    const pass: ExpertPass = { seed, sequences, cache, context };
    const tokens = realTokens ?? hidden.shape[0];
    const { numExperts, numExpertsPerTok } = this.router;
    const places = this.capacity
      ? expertCapacity(this.capacity, tokens, numExpertsPerTok, numExperts, seed !== undefined)
      : tokens;
    if (places >= tokens) return { output: applyExperts(hidden, routing, this.experts, { mask, pass }) };
    const { dropBy } = this.capacity!;
    return applyWithCapacity(hidden, routing, this.experts, { capacity: places, dropBy, mask, pass });
  }

  #shared(shared: SharedExpert, hidden: tf.Tensor2D, { mask, context }: FeedForwardPass): tf.Tensor2D {
    const output = shared.apply(hidden, context);
    return mask ? tf.mul(output, tf.expandDims(mask, 1)) : output;
  }
}
