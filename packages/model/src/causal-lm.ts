import * as tf from '@tensorflow/tfjs-core';
import {
  type AttentionPass,
  type AttentionProjections,
  type KvCache,
  type PositionalEncoding,
  type RopeConfig,
  ropeStays,
  ropeTables,
} from '@therapeutic-moe/attention';
import type { FrozenMatrix, KeyRanges } from '@therapeutic-moe/kernels';
import { adapterSwitch, type LinearHost, type LoraAdapter } from '@therapeutic-moe/lora';
import {
  type ApplyContext,
  dims,
  type EmbeddingLayer,
  freshLayers,
  joinParameters,
  type LayerFactory,
  type LinearLayer,
  layersUnder,
  RmsNorm,
  type StackedLayer,
  seedFor,
  unfilledLayers,
} from '@therapeutic-moe/nn';
import { type Routing, type RoutingReplay, replayTensor, type SequenceCache } from '@therapeutic-moe/router';
import type { OwnedLinear, OwnedStack } from './adapter-slots.js';
import { createPositions } from './create-positions.js';
import { DecoderLayer } from './decoder-layer.js';
import { DecoderSession, type SessionOptions } from './decoder-session.js';
import { type FeedForwardPass, MixtureFeedForward } from './feed-forward.js';
import { frozenLayers } from './frozen-layers.js';
import { keptTokens } from './kv-bytes.js';
import type { ModelConfig } from './model-config.js';
import { hasWaves, isAbsolute } from './positions-config.js';
import { checkReplay, underLayers } from './replay.js';
import { maxPositions, morePositions, rotarySettings } from './rotary-positions.js';
import { layerCache } from './sequence-cache.js';

/** Options of one forward pass. */
export interface ForwardOptions {
  /** Decoding: earlier keys and values; the ids continue them. */
  readonly cache?: KvCache;
  /** Logits of the last position only. */
  readonly lastOnly?: boolean;
  /** Decoding: what levels of attention, routers and experts that look along the sequence keep of earlier tokens. */
  readonly sequenceCache?: SequenceCache;
  /** `[batch * seq]`, 0 where the token is padding: it visits no expert. Absent: all are real. */
  readonly mask?: ArrayLike<number>;
  /** What tokens attend to besides causality (`paddingRanges`, `documentRanges` of the kernels); without `cache` only. */
  readonly ranges?: KeyRanges;
  /** Choices to repeat instead of choosing, one mixture layer each (`recordRouting`). */
  readonly replay?: RoutingReplay;
  /** Its seed, present while training, seeds dropout, jitter and noise. */
  readonly context?: ApplyContext;
  /** The adapter each row of the batch goes through, by name; null: none. Absent: those that are switched on. */
  readonly adapters?: readonly (string | null)[];
}

/** What a forward pass returns; the caller disposes all of it. */
export interface ForwardResult {
  /** `[batch, seq, vocab]`, or `[batch, 1, vocab]` with `lastOnly`. */
  readonly logits: tf.Tensor3D;
  /** One per layer that holds a mixture, ascending, over `batch * seq` tokens; empty for a dense model. */
  readonly routings: readonly Routing[];
  /** `[experts]` for each of these layers: how many choices found no place. Empty where places are not limited. */
  readonly overflows: readonly tf.Tensor1D[];
  /** One per layer, how its attention mixes the domains of each token (`probabilities`); empty where it has none. */
  readonly domainRoutings: readonly Routing[];
}

/** A causal language model: embedding, decoder layers, norm, head. It owns its variables. */
export class CausalLm implements LinearHost {
  readonly #embedding: EmbeddingLayer;
  readonly #positions: PositionalEncoding | undefined;
  readonly #layers: readonly DecoderLayer[];
  readonly #norm: RmsNorm;
  #head: LinearLayer | undefined;
  readonly #rope: RopeConfig | undefined;

  private constructor(
    readonly config: ModelConfig,
    initializerRange: number,
    seed: number,
    layers: LayerFactory,
    /** Weights that are never trained, by path; beside these `parameters()` are all of the model's. */
    readonly frozenWeights: ReadonlyMap<string, FrozenMatrix> = new Map(),
  ) {
    const deviations = { inner: initializerRange, residual: initializerRange / Math.sqrt(2 * config.numHiddenLayers) };
    const { vocabSize, hiddenSize } = config;
    const outer = (name: string) => ({ deviation: initializerRange, seed: seedFor(seed, name) });
    this.#embedding = layers.embedding('model.embed_tokens', vocabSize, hiddenSize, outer('embed_tokens'));
    this.#positions = createPositions(config, {
      deviation: initializerRange * this.#embeddingScale,
      seed: seedFor(seed, 'embed_positions'),
    });
    this.#layers = Array.from({ length: config.numHiddenLayers }, (_, layer) => {
      const path = `layers.${layer}`;
      return new DecoderLayer(config, layer, deviations, seedFor(seed, path), layersUnder(layers, `model.${path}`));
    });
    this.#norm = new RmsNorm(hiddenSize, config.rmsNormEps);
    this.#head = config.tieWordEmbeddings
      ? undefined
      : layers.linear('lm_head', hiddenSize, vocabSize, outer('lm_head'));
    this.#rope = rotarySettings(config);
  }

  /** A model with fresh random weights; the same seed gives the same weights on every backend. */
  static create(config: ModelConfig, seed: number): CausalLm {
    return new CausalLm(config, config.initializerRange, seed, freshLayers);
  }

  /** A model of zeros, to be filled from a checkpoint. */
  static empty(config: ModelConfig): CausalLm {
    return new CausalLm(config, 0, 0, freshLayers);
  }

  /** The same, but its matrices hold any values until they are filled: clearing them takes as long as filling them. */
  static unfilled(config: ModelConfig): CausalLm {
    return new CausalLm(config, 0, 0, unfilledLayers);
  }

  /**
   * A model whose matrices are frozen in fewer bytes: linears, experts, embedding and head. What else it has are variables
   * of zeros, to be filled from a checkpoint.
   *
   * @param matrices by path; owned by the model from now on.
   * @throws when one is missing or of another size.
   */
  static frozen(config: ModelConfig, matrices: ReadonlyMap<string, FrozenMatrix>): CausalLm {
    return new CausalLm(config, 0, 0, frozenLayers(matrices), matrices);
  }

  get vocabSize(): number {
    return this.config.vocabSize;
  }

  /** Positions it serves: `maxPositionEmbeddings`, stretched by scalings that name the trained length there. */
  get maxPositions(): number {
    return maxPositions(this.config);
  }

  /** How many of the newest tokens attention needs the keys and values of, the next one included; undefined: all. */
  get keptTokens(): number | undefined {
    return keptTokens(this.config);
  }

  /**
   * Logits and routing of a batch.
   *
   * @param ids int32 `[batch, seq]`, each in `[0, vocab)`; check them where text becomes ids.
   * @throws when the positions exceed `maxPositions`.
   */
  forward(ids: tf.Tensor2D, options: ForwardOptions = {}): ForwardResult {
    const { batch, seq } = dims('model.forward: ids', ids, ['batch', 'seq']);
    this.#checkPass(batch * seq, seq, options);
    this.#checkAdapters(batch, options.adapters);
    const { ranges, lastOnly = false } = options;
    const context = { ...options.context, ...(options.adapters && { adapters: options.adapters }) };
    const start = options.cache?.length ?? 0;
    const result = tf.tidy(() => {
      const rope = this.#rope && ropeTables(this.#rope, start, seq);
      const passOf = this.#feedForwardPass(batch, seq, { ...options, context });
      let hidden = this.#embed(ids, start);
      const routings: Routing[] = [];
      const overflows: tf.Tensor1D[] = [];
      const domainRoutings: Routing[] = [];
      for (const [layer, decoder] of this.#layers.entries()) {
        const step = inLayer(layer, () => {
          const cache = attentionCache(options, layer, start);
          const attention = { context, ...(rope && { rope }), ...(ranges && { ranges }), ...(cache && { cache }) };
          return decoder.apply(hidden, { ...attention, feedForward: passOf(layer) });
        });
        hidden = step.hidden;
        if (step.routing) routings.push(step.routing);
        if (step.overflow) overflows.push(step.overflow);
        if (step.domainRouting) domainRoutings.push(step.domainRouting);
      }
      const wanted = lastOnly && seq > 1 ? tf.slice(hidden, [0, seq - 1, 0], [-1, 1, -1]) : hidden;
      const rows = tf.reshape(this.#norm.apply(wanted), [-1, this.config.hiddenSize]) as tf.Tensor2D;
      const logits = this.#head ? this.#head.apply(rows, context) : this.#embedding.logits(rows);
      const byRow = tf.reshape(logits, [batch, wanted.shape[1]!, this.vocabSize]);
      return { logits: byRow, routings, overflows, domainRoutings };
    });
    return result as ForwardResult;
  }

  /** Next to waves of size 1 embeddings are multiplied by `sqrt(hidden)` (arXiv:1706.03762, section 3.4). */
  get #embeddingScale(): number {
    return hasWaves(this.config.positions) ? Math.sqrt(this.config.hiddenSize) : 1;
  }

  /** Embeddings, with positions where they are added. */
  #embed(ids: tf.Tensor2D, start: number): tf.Tensor3D {
    const embedded = this.#embedding.apply(ids) as tf.Tensor3D;
    if (!this.#positions) return embedded;
    return this.#positions.apply(tf.mul(embedded, this.#embeddingScale), start);
  }

  /**
   * Whether tokens read at one length stand when the sequence has grown to another. Where not (`dynamic` and `longrope`
   * scaling past the original length), what layers made of them is not what one pass over the longer sequence makes.
   */
  keepsAngles(from: number, to: number): boolean {
    return from === 0 || !this.#rope || ropeStays(this.#rope, from, to);
  }

  #checkPass(tokens: number, seq: number, { cache, sequenceCache, ranges, mask, replay }: ForwardOptions): void {
    const end = (cache?.length ?? 0) + seq;
    if (end > this.maxPositions) {
      throw new Error(
        `model.forward: ${end} positions exceed the model's ${this.maxPositions}; shorten the input or ${morePositions(this.config)}.`,
      );
    }
    if (cache && !this.keepsAngles(cache.length, end)) {
      throw new Error(
        `model.forward: with ${this.config.ropeScaling.type} scaling the ${cache.length} tokens in the cache turn otherwise once there are ${end}; read all of them anew into an empty cache, as a session does.`,
      );
    }
    const { attention, positions, mixture } = this.config;
    const looksAlong =
      attention?.kind === 'multi-level' ||
      mixture?.router?.kind === 'supervisor' ||
      mixture?.experts?.kind === 'transformer';
    if (cache && looksAlong && !sequenceCache) {
      throw new Error(
        'model.forward: the levels of attention, the routers or the experts of this model look along the sequence, so a pass with cache needs sequenceCache too; createSession brings both.',
      );
    }
    if (cache && ranges)
      throw new Error('model.forward: ranges are of a pass without cache; a cache knows which tokens are there.');
    const late =
      ranges && isAbsolute(positions) ? ranges.first.findIndex((at, i) => at > 0 && ranges.end[i]! > at) : -1;
    if (late >= 0) {
      throw new Error(
        `model.forward: ranges let token ${late} begin at ${ranges!.first[late]}, but ${positions!.kind} positions count from the start of a row, so that text would not be what it is alone; give each text a row of its own and put padding behind it.`,
      );
    }
    if (mask && mask.length !== tokens)
      throw new Error(`model.forward: mask must have batch * seq = ${tokens} entries, got ${mask.length}.`);
    const unclear = mask ? Array.from(mask).findIndex((one) => one !== 0 && one !== 1) : -1;
    if (unclear >= 0)
      throw new Error(
        `model.forward: mask must be 1 for real tokens and 0 for padding, got ${mask![unclear]} at ${unclear}.`,
      );
    if (replay) checkReplay(replay, this.config);
  }

  #checkAdapters(batch: number, adapters: ForwardOptions['adapters']): void {
    if (!adapters) return;
    if (adapters.length !== batch) {
      throw new Error(
        `model.forward: adapters must name one adapter, or null, for each of the ${batch} rows, got ${adapters.length}.`,
      );
    }
    const known = adapterSwitch(this)?.adapters ?? new Map<string, LoraAdapter>();
    const unknown = adapters.find((name) => name !== null && !known.has(name));
    if (unknown !== undefined) {
      throw new Error(
        `model.forward: there is no adapter '${unknown}'; the model has ${[...known.keys()].join(', ') || 'none'}.`,
      );
    }
  }

  /** What every layer's feed-forward is told; the layers draw their noise from seeds of their own. */
  #feedForwardPass(batch: number, seq: number, options: ForwardOptions): (layer: number) => FeedForwardPass {
    const { mask, replay, sequenceCache, context } = options;
    const masked = mask && {
      mask: tf.tensor1d(Float32Array.from(mask)),
      realTokens: Array.from(mask).filter((one) => one !== 0).length,
    };
    const seed = context?.dropoutSeed;
    const recorded = replay && underLayers(replay, this.config);
    return (layer) => ({
      sequences: { batch, seq },
      ...(context && { context }),
      ...masked,
      ...(seed !== undefined && { seed: seedFor(seed, `layers.${layer}.mixture`) }),
      ...(recorded?.[layer] && { replay: replayTensor(recorded, layer) }),
      ...(sequenceCache && { cache: layerCache(sequenceCache, layer) }),
    });
  }

  /** Starts decoding one sequence. The session holds its own cache and is disposed by the caller. */
  createSession(options: SessionOptions = {}): DecoderSession {
    return DecoderSession.start(this, options);
  }

  /** All variables by path: Hugging Face's names, with the experts of a layer stacked. */
  parameters(): Map<string, tf.Variable> {
    return joinParameters({
      'model.embed_tokens': this.#embedding,
      ...(this.#positions && { 'model.embed_positions': this.#positions }),
      ...Object.fromEntries(this.#layers.map((layer, i) => [`model.layers.${i}`, layer])),
      'model.norm': this.#norm,
      ...(this.#head ? { lm_head: this.#head } : {}),
    });
  }

  /** What belongs to a model beside its parameters and is not trained by gradients, by path: balance biases. */
  buffers(): Map<string, tf.Variable> {
    const buffers = new Map<string, tf.Variable>();
    for (const [i, { feedForward }] of this.#layers.entries())
      for (const [name, buffer] of feedForward.buffers()) buffers.set(`model.layers.${i}.${name}`, buffer);
    return buffers;
  }

  /**
   * The mixtures of the layers that hold one, ascending, for measuring, placing and balancing; empty for a dense model. The
   * model owns them.
   */
  mixtures(): MixtureFeedForward[] {
    return this.#layers.map(({ feedForward }) => feedForward).filter((each) => each instanceof MixtureFeedForward);
  }

  /**
   * The places where adapters of linears go, by the paths that transformers 5 and PEFT have for them: attention projections,
   * the three of a dense feed-forward, a shared expert's, and the head. A head that shares the embedding is no linear of its
   * own: changing it would change the embedding, or part the two.
   */
  linears(): Map<string, OwnedLinear> {
    const linears = new Map<string, OwnedLinear>();
    for (const [i, { attention, feedForward }] of this.#layers.entries()) {
      const projections = attention.projections;
      for (const [name, layer] of Object.entries(projections) as [keyof AttentionProjections, LinearLayer][]) {
        const replace = (other: LinearLayer) => {
          projections[name] = other;
        };
        linears.set(`model.layers.${i}.self_attn.${name}`, { layer, replace });
      }
      for (const [name, slot] of feedForward.linears()) linears.set(`model.layers.${i}.${name}`, slot);
    }
    const replace = (layer: LinearLayer) => {
      this.#head = layer;
    };
    if (this.#head) linears.set('lm_head', { layer: this.#head, replace });
    return linears;
  }

  /**
   * Puts another layer in the place of one of `linears()`, of the sizes of the whole layer there; the model owns it from now
   * on.
   *
   * @throws when there is no linear at the path, or the new one has other sizes.
   */
  replaceLinear(path: string, linear: LinearLayer): void {
    const slot = this.linears().get(path);
    if (!slot) throw new Error(`model.replaceLinear: there is no linear at ${path}.`);
    const { inputSize, outputSize } = slot.layer;
    if (linear.inputSize !== inputSize || linear.outputSize !== outputSize) {
      throw new Error(
        `model.replaceLinear: ${path} must map ${inputSize} to ${outputSize}, got ${linear.inputSize} to ${linear.outputSize}.`,
      );
    }
    slot.replace(linear);
  }

  /** The stacks of expert matrices that adapters go on, by transformers' paths; of gated experts alone. */
  stacks(): Map<string, StackedLayer> {
    return new Map([...this.#stacks()].map(([path, { stack }]) => [path, stack]));
  }

  /**
   * Puts another stack in the place of one of `stacks()`; the model owns it from now on.
   *
   * @throws when there is no stack at the path, or the new one has other sizes.
   */
  replaceStack(path: string, stack: StackedLayer): void {
    const owned = this.#stacks().get(path);
    if (!owned) throw new Error(`model.replaceStack: there is no stack of experts at ${path}.`);
    const sizes = ({ experts, inputSize, outputSize }: StackedLayer) => `[${[experts, inputSize, outputSize]}]`;
    if (sizes(stack) !== sizes(owned.stack))
      throw new Error(`model.replaceStack: ${path} must be ${sizes(owned.stack)}, got ${sizes(stack)}.`);
    owned.replace(stack);
  }

  #stacks(): Map<string, OwnedStack> {
    return new Map(
      this.#layers.flatMap(({ feedForward }, i) =>
        [...feedForward.stacks()].map(([name, stack]) => [`model.layers.${i}.${name}`, stack] as const),
      ),
    );
  }

  dispose(): void {
    this.#embedding.dispose();
    this.#positions?.dispose();
    for (const layer of this.#layers) layer.dispose();
    this.#norm.dispose();
    this.#head?.dispose();
  }
}

/** Where the attention of one layer keeps what it needs of the `start` tokens before this pass. */
function attentionCache(
  { cache, sequenceCache }: ForwardOptions,
  layer: number,
  start: number,
): AttentionPass['cache'] {
  const levels = sequenceCache && { ...layerCache(sequenceCache, layer), start };
  return cache && { store: cache, layer, ...(levels && { levels }) };
}

/** What is wrong when a router's gate gives a number that is none; top-k would still send the token somewhere. */
export function notFiniteGate(layer: number): Error {
  return new Error(
    `model.layers.${layer}: the router's gate is not finite; its hidden state or its weights are not. Lower the learning rate, or check the weights.`,
  );
}

/** Runs one layer's part of a pass; its errors say which layer. */
function inLayer<T>(layer: number, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw new Error(`model.layers.${layer}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
