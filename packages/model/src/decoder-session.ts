import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache } from '@therapeutic-moe/attention';
import { oneHotFloat } from '@therapeutic-moe/router';
import { type CausalLm, notFiniteGate } from './causal-lm.js';
import { type CacheMark, ConcatSequenceCache } from './sequence-cache.js';

/** What a session held at some time. */
interface SessionMark {
  readonly length: number;
  readonly sequences: CacheMark;
}

/** Decoding of one sequence: tokens go in, the logits of the next one come out, earlier keys and values are kept. */
export class DecoderSession {
  readonly #cache: ConcatKvCache;
  readonly #sequenceCache = new ConcatSequenceCache();
  #disposed = false;

  constructor(private readonly model: CausalLm) {
    this.#cache = new ConcatKvCache(model.maxPositions);
  }

  /** Tokens taken in so far. */
  get length(): number {
    return this.#cache.length;
  }

  /**
   * Takes in the next tokens: a whole prompt, a piece of one, or a single token.
   *
   * @returns `logits` `[vocab]` of the token that follows, and how often each expert was visited, summed over layers
   *   and the tokens of this call.
   * @throws when an id is outside the vocabulary or the sequence would exceed the model's positions, or the pass fails; nothing is taken
   *   in then.
   */
  async append(ids: readonly number[]): Promise<{ logits: Float32Array; expertCounts: Float32Array }> {
    this.#check(ids);
    const { vocabSize } = this.model;
    const experts = this.model.config.mixture?.numExperts ?? 0;
    const before = this.#mark();
    const { packed, gates } = this.#takeIn(before, () => {
      const { logits, routings } = this.model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'), {
        cache: this.#cache,
        sequenceCache: this.#sequenceCache,
        lastOnly: true,
      });
      const visits = routings.map((routing) => tf.sum(oneHotFloat(routing.indices, experts), [0, 1]));
      const counts = visits.length > 0 ? [tf.addN(visits)] : [];
      const packed = tf.concat([tf.reshape(logits, [vocabSize]), ...counts]); // one read-back for both
      return { packed, gates: routings.map((routing) => routing.gates) };
    });
    try {
      const values = (await packed.data()) as Float32Array;
      if (!values.every(Number.isFinite)) throw await explainNotFinite(gates);
      return { logits: values.slice(0, vocabSize), expertCounts: values.slice(vocabSize) };
    } catch (thrown) {
      this.#rollBack(before);
      throw thrown;
    } finally {
      tf.dispose([packed, gates]);
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

/** Looks for the layer that began it, now that the logits are not finite. @param gates those of each layer. */
async function explainNotFinite(gates: readonly (readonly tf.Tensor2D[])[]): Promise<Error> {
  for (const [layer, ofLayer] of gates.entries()) {
    for (const gate of ofLayer) {
      const values = (await gate.data()) as Float32Array;
      if (!values.every(Number.isFinite)) return notFiniteGate(layer);
    }
  }
  return new Error('session.append: the logits are not finite; the weights of the model are not, or are too large.');
}
