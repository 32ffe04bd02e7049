import * as tf from '@tensorflow/tfjs-core';
import { GrowingKvCache } from '@therapeutic-moe/attention';
import { type CausalLm, notFiniteGate } from './causal-lm.js';
import { type CacheMark, ConcatSequenceCache } from './sequence-cache.js';

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

/** Decoding of one sequence: tokens go in, the logits of the next one come out, earlier keys and values are kept. */
export class DecoderSession {
  #cache: GrowingKvCache;
  #sequenceCache = new ConcatSequenceCache();
  readonly #ids: number[] = [];
  #disposed = false;

  constructor(private readonly model: CausalLm) {
    this.#cache = new GrowingKvCache(model.maxPositions);
  }

  /** Tokens taken in so far. */
  get length(): number {
    return this.#cache.length;
  }

  /**
   * Takes in the next tokens: a whole prompt, a piece of one, or a single token. Every call gives what one pass over the
   * whole sequence would. Where angles follow the length (`longrope` as it passes the original length, `dynamic` at
   * every token past it) that means reading the whole sequence anew.
   *
   * @returns `logits` `[vocab]` of the token that follows, and how often each expert was visited, summed over layers
   *   and the tokens that this call read.
   * @throws when an id is outside the vocabulary or the sequence would exceed the model's positions, or the pass fails; nothing is taken
   *   in then.
   */
  async append(ids: readonly number[]): Promise<SessionStep> {
    this.#check(ids);
    const keeps = this.model.keepsAngles(this.length, this.length + ids.length);
    const step = await (keeps ? this.#read(ids) : this.#readAnew([...this.#ids, ...ids]));
    for (const id of ids) this.#ids.push(id);
    return step;
  }

  async #read(ids: readonly number[]): Promise<SessionStep> {
    const before = this.#mark();
    const { outputs, gates } = this.#takeIn(before, () => {
      const { logits, routings } = this.model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'), {
        cache: this.#cache,
        sequenceCache: this.#sequenceCache,
        lastOnly: true,
      });
      const gates = routings.map((routing) => routing.gates);
      // Elsewhere a NaN in a gate reaches the logits, or the dispatch sees it; WebGPU's functions may swallow it.
      const watched = tf.getBackend() === 'webgpu' ? gates.flat() : [];
      const chosen = routings.map(({ indices }) => indices);
      return { outputs: [logits, ...joinFlat(chosen), ...joinFlat(watched)], gates };
    });
    try {
      const [logits, chosen = [], watched = []] = await Promise.all(outputs.map((output) => output.data()));
      if (!allFinite(logits!) || !allFinite(watched)) throw await explainNotFinite(gates);
      return { logits: logits as Float32Array, expertCounts: this.#count(chosen) };
    } catch (thrown) {
      this.#rollBack(before);
      throw thrown;
    } finally {
      tf.dispose([outputs, gates]);
    }
  }

  /** Fills caches of its own, so that these are untouched should it fail. */
  async #readAnew(ids: readonly number[]): Promise<SessionStep> {
    const fresh = new DecoderSession(this.model);
    try {
      const step = await fresh.#read(ids);
      if (this.#disposed) return step;
      [this.#cache, fresh.#cache] = [fresh.#cache, this.#cache];
      [this.#sequenceCache, fresh.#sequenceCache] = [fresh.#sequenceCache, this.#sequenceCache];
      return step;
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

  #count(chosen: ArrayLike<number>): Float32Array {
    const counts = new Float32Array(this.model.config.mixture?.numExperts ?? 0);
    for (let i = 0; i < chosen.length; i++) counts[chosen[i]!]!++;
    return counts;
  }

  #check(ids: readonly number[]): void {
    if (this.#disposed) throw new Error('session.append: the session is disposed; create a new one.');
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

/** Looks for the layer that began it, now that the logits are not finite. @param gates those of each layer. */
async function explainNotFinite(gates: readonly (readonly tf.Tensor2D[])[]): Promise<Error> {
  for (const [layer, ofLayer] of gates.entries()) {
    for (const gate of ofLayer) {
      const values = (await gate.data()) as Float32Array;
      if (!allFinite(values)) return notFiniteGate(layer);
    }
  }
  return new Error('session.append: the logits are not finite; the weights of the model are not, or are too large.');
}
