import * as tf from '@tensorflow/tfjs-core';
import { type KvDtype, PreallocatedKvCache } from '@therapeutic-moe/attention';
import { type CausalLm, notFiniteGate } from './causal-lm.js';
import { countMixtureLayers, routedLayers } from './mixture-layers.js';
import { type CacheMark, ConcatSequenceCache } from './sequence-cache.js';

/** How a session works. */
export interface SessionOptions {
  /** `int8` keeps keys and values in about a quarter of the memory, and its logits are not exact. Default `float32`. */
  readonly kvCache?: KvDtype;
  /** The adapter it goes through from its first token to its last; null: none. Absent: those that are switched on. */
  readonly adapter?: string | null;
}

/** What a session holds. */
interface SessionState {
  readonly cache: PreallocatedKvCache;
  readonly sequenceCache: ConcatSequenceCache;
  readonly ids: readonly number[];
  /** `[tokens][experts]`: how often each token visited each expert, summed over layers. */
  readonly visits: readonly Float32Array[];
}

/** What a session held at some time. */
interface SessionMark {
  readonly length: number;
  readonly sequences: CacheMark;
}

/** What a call of `append` gives. */
interface SessionStep {
  readonly logits: Float32Array;
  readonly expertCounts: Float32Array;
}

/** What a pass gives. */
interface SessionPass {
  readonly logits: Float32Array;
  /** `[tokens][experts]`, as in {@link SessionState}, of the tokens that were read. */
  readonly visits: readonly Float32Array[];
}

/** Tokens that an empty session has room for; the room doubles as they come. */
const INITIAL_ROOM = 16;

/** Decoding of one sequence: tokens go in, the logits of the next one come out, earlier keys and values are kept. */
export class DecoderSession {
  #cache: PreallocatedKvCache;
  #sequenceCache: ConcatSequenceCache;
  #ids: number[];
  #visits: Float32Array[];
  #disposed = false;

  private constructor(
    private readonly model: CausalLm,
    private readonly options: SessionOptions,
    { cache, sequenceCache, ids, visits }: SessionState,
  ) {
    this.#cache = cache;
    this.#sequenceCache = sequenceCache;
    this.#ids = [...ids];
    this.#visits = [...visits];
  }

  /** An empty session. Tokens that no later one needs are dropped as it goes (`keptTokens` of the model). */
  static start(model: CausalLm, options: SessionOptions = {}): DecoderSession {
    const { kvCache: dtype } = options;
    const window = model.keptTokens;
    const cache = new PreallocatedKvCache({
      capacity: model.maxPositions,
      initialRoom: INITIAL_ROOM,
      ...(dtype && { dtype }),
      ...(window !== undefined && { window }),
    });
    const sequenceCache = new ConcatSequenceCache();
    return new DecoderSession(model, options, { cache, sequenceCache, ids: [], visits: [] });
  }

  /** Tokens taken in so far. */
  get length(): number {
    return this.#cache.length;
  }

  /** `[experts]`: how often the tokens taken in so far visited each expert, summed over layers. */
  get expertCounts(): Float32Array {
    return this.#sum(this.#visits);
  }

  /**
   * What its caches take: keys and values of attention with the room for tokens to come, blocks of coarse levels, and what
   * routers and experts look back at.
   */
  get kvBytes(): number {
    return this.#cache.bytes + this.#sequenceCache.bytes;
  }

  /** A second session that has taken in the same tokens, in memory of its own: several answers share one prompt. */
  fork(): DecoderSession {
    this.#refuseDisposed('fork');
    const [cache, sequenceCache] = [this.#cache.fork(), this.#sequenceCache.fork()];
    const state = { cache, sequenceCache, ids: this.#ids, visits: this.#visits };
    return new DecoderSession(this.model, this.options, state);
  }

  /**
   * Goes back to the longest beginning that this session shares with `ids` (llama.cpp's `cache_prompt`), so that a
   * next turn does not compute the prompt again: append `ids.slice(kept)`. At least one token is left to append. All is
   * forgotten where the tokens behind that beginning cannot be: when they have pushed others out of a window, or routers,
   * experts or coarse levels of the model look along the sequence, or angles follow its length.
   *
   * @returns how many of `ids` are kept.
   */
  reuse(ids: readonly number[]): number {
    this.#refuseDisposed('reuse');
    const differs = this.#ids.findIndex((id, i) => id !== ids[i]);
    const shared = Math.min(differs < 0 ? this.length : differs, Math.max(0, ids.length - 1));
    const goesBack = this.#cache.reaches(shared) && this.#sequenceCache.isEmpty;
    const possible = shared === this.length || (goesBack && this.model.keepsAngles(shared, this.length));
    const kept = possible ? shared : 0;
    this.#cache.truncate(kept);
    if (kept === 0) this.#sequenceCache.rollBack(new Map());
    this.#ids = ids.slice(0, kept);
    this.#visits.length = kept;
    return kept;
  }

  /**
   * Takes in the next tokens: a whole prompt, a piece of one, or a single token. Every call gives what one pass over the
   * whole sequence would. Where angles follow the length (`longrope` as it passes the original length, `dynamic` at
   * every token past it) that means reading the whole sequence anew.
   *
   * @returns `logits` `[vocab]` of the token that follows, and how often each expert was visited, summed over layers
   *   and the tokens of this call.
   * @throws when an id is outside the vocabulary or the sequence would exceed the model's positions, or the pass fails; nothing is taken
   *   in then.
   */
  async append(ids: readonly number[]): Promise<SessionStep> {
    this.#check(ids);
    const keeps = this.model.keepsAngles(this.length, this.length + ids.length);
    const { logits, visits } = await (keeps ? this.#read(ids) : this.#readAnew([...this.#ids, ...ids]));
    for (const id of ids) this.#ids.push(id);
    if (!keeps) this.#visits = [];
    for (const each of visits) this.#visits.push(each);
    return { logits, expertCounts: this.#sum(visits.slice(-ids.length)) };
  }

  async #read(ids: readonly number[]): Promise<SessionPass> {
    const before = this.#mark();
    const { outputs, gates } = this.#takeIn(before, () => {
      const { logits, routings, domainRoutings } = this.model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'), {
        cache: this.#cache,
        sequenceCache: this.#sequenceCache,
        lastOnly: true,
        ...(this.options.adapter !== undefined && { adapters: [this.options.adapter] }),
      });
      const gates = [...routings, ...domainRoutings].map((routing) => routing.gates);
      // Elsewhere a NaN in a gate reaches the logits, or the dispatch sees it; WebGPU's functions may swallow it.
      const watched = tf.getBackend() === 'webgpu' ? gates.flat() : [];
      const chosen = routings.map(({ indices }) => indices);
      return { outputs: [logits, ...joinFlat(chosen), ...joinFlat(watched)], gates };
    });
    const after = this.#sequenceCache.mark();
    try {
      const [logits, chosen = [], watched = []] = await Promise.all(outputs.map((output) => output.data()));
      if (!allFinite(logits!) || !allFinite(watched))
        throw await explainNotFinite(gates, routedLayers(this.model.config));
      this.#sequenceCache.settle(after);
      return { logits: logits as Float32Array, visits: this.#visitsOf(chosen, ids.length) };
    } catch (thrown) {
      this.#rollBack(before);
      throw thrown;
    } finally {
      tf.dispose([outputs, gates]);
    }
  }

  /** Fills caches of its own, so that these are untouched should it fail. */
  async #readAnew(ids: readonly number[]): Promise<SessionPass> {
    const fresh = DecoderSession.start(this.model, this.options);
    try {
      const pass = await fresh.#read(ids);
      if (this.#disposed) return pass;
      [this.#cache, fresh.#cache] = [fresh.#cache, this.#cache];
      [this.#sequenceCache, fresh.#sequenceCache] = [fresh.#sequenceCache, this.#sequenceCache];
      return pass;
    } finally {
      fresh.dispose();
    }
  }

  dispose(): void {
    this.#disposed = true;
    this.#cache.dispose();
    this.#sequenceCache.dispose();
  }

  /** Runs a pass; where it fails after some layers, their new keys and values are taken back. */
  #takeIn<T extends tf.TensorContainer>(before: SessionMark, pass: () => T): T {
    try {
      return tf.tidy(pass);
    } catch (thrown) {
      this.#rollBack(before);
      throw thrown;
    }
  }

  #mark(): SessionMark {
    return { length: this.length, sequences: this.#sequenceCache.mark() };
  }

  #rollBack({ length, sequences }: SessionMark): void {
    this.#cache.truncate(length);
    this.#sequenceCache.rollBack(sequences);
  }

  #refuseDisposed(method: string): void {
    if (this.#disposed) throw new Error(`session.${method}: the session is disposed; create a new one.`);
  }

  /** @param chosen `[layers, tokens, k]`, flat. @returns `[tokens][experts]`. */
  #visitsOf(chosen: ArrayLike<number>, tokens: number): Float32Array[] {
    const visits = Array.from({ length: tokens }, () => this.#noVisits());
    const ofLayer = chosen.length / countMixtureLayers(this.model.config);
    const k = ofLayer / tokens;
    for (let i = 0; i < chosen.length; i++) visits[Math.floor((i % ofLayer) / k)]![chosen[i]!]!++;
    return visits;
  }

  #sum(visits: readonly Float32Array[]): Float32Array {
    const sum = this.#noVisits();
    for (const each of visits) for (let expert = 0; expert < sum.length; expert++) sum[expert]! += each[expert]!;
    return sum;
  }

  #noVisits(): Float32Array {
    return new Float32Array(this.model.config.mixture?.numExperts ?? 0);
  }

  #check(ids: readonly number[]): void {
    this.#refuseDisposed('append');
    if (ids.length === 0) throw new Error('session.append: there are no ids; append at least one.');
    const bad = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < this.model.vocabSize));
    if (bad >= 0) {
      throw new Error(
        `session.append: id ${ids[bad]} at position ${bad} is outside the vocabulary of ${this.model.vocabSize}.`,
      );
    }
    if (this.length + ids.length > this.model.maxPositions) {
      throw new Error(
        `session.append: ${this.length} + ${ids.length} tokens exceed the model's ${this.model.maxPositions} positions; start a new session or shorten the prompt.`,
      );
    }
  }
}

/** All values one after the other, or nothing where there is nothing. */
function joinFlat(tensors: readonly tf.Tensor[]): tf.Tensor[] {
  return tensors.length > 0 ? [tf.concat(tensors.map((tensor) => tf.reshape(tensor, [-1])))] : [];
}

function allFinite(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

/**
 * Looks for the layer that began it, now that the logits are not finite.
 *
 * @param gates those of each router. @param layers that the routers are of (`routedLayers`).
 */
async function explainNotFinite(gates: readonly (readonly tf.Tensor2D[])[], layers: readonly number[]): Promise<Error> {
  for (const [i, ofRouter] of gates.entries()) {
    for (const gate of ofRouter) {
      const values = (await gate.data()) as Float32Array;
      if (!allFinite(values)) return notFiniteGate(layers[i]!);
    }
  }
  return new Error('session.append: the logits are not finite; the weights of the model are not, or are too large.');
}
