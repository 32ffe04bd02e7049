import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache } from '@therapeutic-moe/attention';
import { oneHotFloat } from '@therapeutic-moe/router';
import type { CausalLm } from './causal-lm.js';

/** Decoding of one sequence: tokens go in, the logits of the next one come out, earlier keys and values are kept. */
export class DecoderSession {
  readonly #cache: ConcatKvCache;
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
    const packed = this.#takeIn(() => {
      const { logits, routings } = this.model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'), {
        cache: this.#cache,
        lastOnly: true,
      });
      const visits = routings.map((routing) => tf.sum(oneHotFloat(routing.indices, experts), [0, 1]));
      const counts = visits.length > 0 ? [tf.addN(visits)] : [];
      return tf.concat([tf.reshape(logits, [vocabSize]), ...counts]); // one read-back for both
    });
    const values = (await packed.data()) as Float32Array;
    packed.dispose();
    return { logits: values.slice(0, vocabSize), expertCounts: values.slice(vocabSize) };
  }

  dispose(): void {
    this.#disposed = true;
    this.#cache.dispose();
  }

  /** Runs a pass; where it fails after some layers, their new keys and values are taken back. */
  #takeIn(pass: () => tf.Tensor): tf.Tensor {
    const before = this.length;
    try {
      return tf.tidy(pass);
    } catch (thrown) {
      this.#cache.truncate(before);
      throw thrown;
    }
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
