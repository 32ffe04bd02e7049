import * as tf from '@tensorflow/tfjs-core';
import { ropeTables } from '@therapeutic-moe/attention';
import type { DecoderLayer } from '../decoder-layer.js';
import type { ModelConfig } from '../model-config.js';
import { rotarySettings } from '../rotary-positions.js';

/** Prompts on their way through a dense model, layer by layer, so that memory holds one layer of it. */
export class PromptStates {
  /** `[1, seq, hidden]` for each prompt. */
  #states: readonly tf.Tensor3D[];

  /** @param embeddings `[tokens, hidden]` of all prompts in order; only read. */
  constructor(
    readonly config: ModelConfig,
    ids: readonly (readonly number[])[],
    embeddings: Float32Array,
  ) {
    const { hiddenSize } = config;
    let end = 0;
    this.#states = ids.map(({ length }) => {
      const start = end;
      end += length * hiddenSize;
      return tf.tensor3d(embeddings.slice(start, end), [1, length, hiddenSize]);
    });
  }

  /**
   * Takes the prompts through the next layer.
   *
   * @returns `[tokens, hidden]`, what the layer's feed-forward was given, of all prompts in order. Caller disposes.
   */
  advance(layer: DecoderLayer): tf.Tensor2D {
    const { states, rows } = tf.tidy(() => {
      const passed = this.#states.map((state) => pass(this.config, layer, state));
      return { states: passed.map(({ hidden }) => hidden), rows: tf.concat(passed.map((each) => each.rows)) };
    });
    this.dispose();
    this.#states = states;
    return rows;
  }

  dispose(): void {
    tf.dispose([...this.#states]);
  }
}

/** What a dense layer does, and what it gives its feed-forward `[seq, hidden]`. */
function pass(
  config: ModelConfig,
  { attention, inputNorm, postAttentionNorm, feedForward }: DecoderLayer,
  x: tf.Tensor3D,
): { hidden: tf.Tensor3D; rows: tf.Tensor2D } {
  const rope = ropeTables(rotarySettings(config)!, 0, x.shape[1]);
  const mixed = tf.add(x, attention.apply(inputNorm.apply(x) as tf.Tensor3D, { rope }));
  const rows = tf.reshape(postAttentionNorm.apply(mixed), [-1, config.hiddenSize]) as tf.Tensor2D;
  return { hidden: tf.add(mixed, tf.reshape(feedForward.apply(rows).output, x.shape)), rows };
}
