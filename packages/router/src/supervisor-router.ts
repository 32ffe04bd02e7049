import * as tf from '@tensorflow/tfjs-core';
import { flashAttention, float32Products } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  joinParameters,
  Linear,
  type LinearLayer,
  type Parameters,
  refuseUnknownKeys,
  seedFor,
} from '@therapeutic-moe/nn';
import { refuseCount, refuseFlag, refuseMoreThan, refuseUnlessDivides } from './check-config.js';
import { checkPass } from './check-pass.js';
import { chosenWeights } from './chosen-weights.js';
import { hideKeys } from './hide-keys.js';
import type { RoutePass, Router, Routing } from './routing.js';
import { topKIndices } from './top-k.js';

/** How a supervisor looks and chooses. */
export interface SupervisorConfig {
  readonly numExperts: number;
  /** How many experts each token visits. */
  readonly numExpertsPerTok: number;
  /** Heads of the attention over the sequence; a divisor of the width of `q_proj`. */
  readonly numAttentionHeads: number;
  /** True inside a causal decoder: a token sees only earlier ones. False: it sees the whole sequence. */
  readonly causal: boolean;
  /** Divide the k weights by their sum, so that they add up to 1. */
  readonly normTopkProb: boolean;
  /** Where this router keeps its keys and values in a `SequenceCache`: a name of its own per layer. */
  readonly cacheKey: string;
}

/** The layers of a supervisor, by the names their parameters get. */
export interface SupervisorLayers {
  readonly q_proj: LinearLayer;
  readonly k_proj: LinearLayer;
  readonly v_proj: LinearLayer;
  readonly o_proj: LinearLayer;
  /** First layer of the gate, before SiLU. */
  readonly up_proj: LinearLayer;
  /** Second layer of the gate: to one number for each expert. */
  readonly down_proj: LinearLayer;
}

/**
 * Supervisor gating of the constellation design: multi-head self-attention over the sequence (exact,
 * arXiv:1706.03762), added to the hidden state, then a gate `down(silu(up(x)))` and top-k of its experts, so that a
 * token's experts depend on what surrounds it. It has no positions of its own; the hidden states bring them.
 */
export class SupervisorRouter implements Router {
  readonly config: SupervisorConfig;

  /** @param layers replaceable, so that an adapter can be put around each; owned by this router from now on. */
  constructor(
    readonly layers: SupervisorLayers,
    config: SupervisorConfig,
  ) {
    this.config = resolveSupervisorConfig(config);
    checkLayers(layers, config);
  }

  /** A fresh supervisor: attention as wide as the hidden state, a gate of `gateSize` inner numbers. */
  static create(
    { hiddenSize, gateSize }: { hiddenSize: number; gateSize: number },
    config: SupervisorConfig,
    { deviation, seed }: { deviation?: number; seed: number },
  ): SupervisorRouter {
    const linear = (name: keyof SupervisorLayers, input: number, output: number) =>
      Linear.create(input, output, { deviation, seed: seedFor(seed, name) });
    const layers = {
      q_proj: linear('q_proj', hiddenSize, hiddenSize),
      k_proj: linear('k_proj', hiddenSize, hiddenSize),
      v_proj: linear('v_proj', hiddenSize, hiddenSize),
      o_proj: linear('o_proj', hiddenSize, hiddenSize),
      up_proj: linear('up_proj', hiddenSize, gateSize),
      down_proj: linear('down_proj', gateSize, config.numExperts),
    };
    return new SupervisorRouter(layers, config);
  }

  get hiddenSize(): number {
    return this.layers.q_proj.inputSize;
  }

  get numExperts(): number {
    return this.config.numExperts;
  }

  get numExpertsPerTok(): number {
    return this.config.numExpertsPerTok;
  }

  /** @throws also when `pass.sequences` is missing, or a supervisor that sees the whole sequence is given a cache. */
  route(hidden: tf.Tensor2D, pass: RoutePass = {}): Routing {
    checkPass(hidden, pass, this);
    this.#checkSequences(pass);
    return tf.tidy(() => {
      const logits = float32Products(() => this.#gate(hidden, pass));
      const probabilities = tf.softmax(logits);
      const indices = pass.replay ? tf.clone(pass.replay) : topKIndices(logits, this.numExpertsPerTok);
      const weights = chosenWeights({ logits, scores: probabilities, indices, mask: pass.mask }, this.config);
      return { logits, probabilities, indices, weights, gates: [tf.clone(logits)] };
    });
  }

  parameters(): Parameters {
    return joinParameters({ ...this.layers });
  }

  buffers(): Parameters {
    return new Map();
  }

  dispose(): void {
    for (const layer of Object.values(this.layers)) layer.dispose();
  }

  #gate(hidden: tf.Tensor2D, pass: RoutePass): tf.Tensor2D {
    const context = { dropoutSeed: pass.seed };
    const seen = tf.add(hidden, this.#attend(hidden, pass, context));
    const inner = this.layers.up_proj.apply(seen, context);
    return this.layers.down_proj.apply(tf.mul(inner, tf.sigmoid(inner)), context) as tf.Tensor2D;
  }

  /** `[tokens, hidden]`: what each token gathers from its sequence; padded tokens are not seen. */
  #attend(hidden: tf.Tensor2D, { mask, sequences, cache }: RoutePass, context: ApplyContext): tf.Tensor2D {
    const { causal, numAttentionHeads: heads, cacheKey } = this.config;
    const { batch, seq } = sequences!;
    const headDim = this.layers.q_proj.outputSize / heads;
    const [q, k, v] = (['q_proj', 'k_proj', 'v_proj'] as const).map(
      (name) => tf.reshape(this.layers[name].apply(hidden, context), [batch, seq, heads, headDim]) as tf.Tensor4D,
    ) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    const options = { causal, scale: headDim ** -0.5 };
    const hidden4d = mask || cache ? hideKeys({ q, k, v }, mask) : { q, k, v };
    const all = cache ? cache.append(cacheKey, hidden4d.k, hidden4d.v) : hidden4d;
    const mixed = flashAttention(hidden4d.q, all.k, all.v, options);
    const heads4d = tf.slice4d(mixed, [0, 0, 0, 0], [-1, -1, -1, headDim]);
    return this.layers.o_proj.apply(tf.reshape(heads4d, [batch * seq, heads * headDim]), context) as tf.Tensor2D;
  }

  #checkSequences({ sequences, cache }: RoutePass): void {
    if (!sequences) {
      throw new Error(
        'router.route: a supervisor looks along the sequence; give pass.sequences { batch, seq }, got none.',
      );
    }
    if (cache && !this.config.causal) {
      throw new Error(
        'router.route: pass.cache needs a supervisor with causal true; one that sees the whole sequence cannot decode token by token.',
      );
    }
  }
}

/** Checks the settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveSupervisorConfig(config: SupervisorConfig): SupervisorConfig {
  const { numExperts, numExpertsPerTok, numAttentionHeads, causal, normTopkProb, cacheKey } = config;
  const where = 'supervisor router';
  const resolved = { numExperts, numExpertsPerTok, numAttentionHeads, causal, normTopkProb, cacheKey };
  refuseUnknownKeys(where, config, Object.keys(resolved));
  refuseCount(where, { numExperts, numExpertsPerTok, numAttentionHeads });
  refuseMoreThan(where, { numExpertsPerTok }, { numExperts }, 'a token cannot visit more experts than exist');
  refuseFlag(where, { causal, normTopkProb });
  if (typeof cacheKey !== 'string' || cacheKey === '') {
    throw new Error(`${where}: cacheKey must name this router, such as 'layers.0.router', got '${String(cacheKey)}'.`);
  }
  return Object.freeze(resolved);
}

function checkLayers(layers: SupervisorLayers, config: SupervisorConfig): void {
  const { inputSize: hidden, outputSize: width } = layers.q_proj;
  const sizes = {
    k_proj: [hidden, width],
    v_proj: [hidden, width],
    o_proj: [width, hidden],
    up_proj: [hidden, layers.up_proj.outputSize],
    down_proj: [layers.up_proj.outputSize, config.numExperts],
  } as const;
  for (const [name, [input, output]] of Object.entries(sizes)) {
    const { inputSize, outputSize } = layers[name as keyof SupervisorLayers];
    if (inputSize !== input || outputSize !== output) {
      throw new Error(`supervisor router: ${name} must map ${input} to ${output}, got ${inputSize} to ${outputSize}.`);
    }
  }
  const { numAttentionHeads } = config;
  refuseUnlessDivides('supervisor router', { numAttentionHeads }, { 'the width of q_proj': width });
}
