import * as tf from '@tensorflow/tfjs-core';
import { GrowingKvCache } from '@therapeutic-moe/attention';
import type { CausalLm } from './causal-lm.js';

/** Decoding of one sequence: tokens go in, the logits of the next one come out, earlier keys and values are kept. */
export class DecoderSession {
  readonly #cache: GrowingKvCache;
  #disposed = false;

  constructor(private readonly model: CausalLm) {
    this.#cache = new GrowingKvCache(model.maxPositions);
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
    const outputs = this.#takeIn(() => {
      const { logits, routings } = this.model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'), {
        cache: this.#cache,
        lastOnly: true,
      });
      const choices = routings.map(({ indices }) => tf.reshape(indices, [-1]));
      return [logits, ...(choices.length > 0 ? [tf.concat(choices)] : [])];
    });
    const [logits, chosen = []] = await Promise.all(outputs.map((output) => output.data()));
    tf.dispose(outputs);
    return { logits: logits as Float32Array, expertCounts: this.#count(chosen) };
  }

  dispose(): void {
    this.#disposed = true;
    this.#cache.dispose();
  }

  /** Runs a pass; where it fails after some layers, their new keys and values are taken back. */
  #takeIn(pass: () => tf.Tensor[]): tf.Tensor[] {
    const before = this.length;
    try {
      return tf.tidy(pass);
    } catch (thrown) {
      this.#cache.truncate(before);
      throw thrown;
    }
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
