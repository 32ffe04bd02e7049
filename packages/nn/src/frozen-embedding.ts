import * as tf from '@tensorflow/tfjs-core';
import { type FrozenMatrix, frozenMatMul, frozenRows } from '@therapeutic-moe/kernels';
import type { EmbeddingLayer } from './embedding.js';
import type { Parameters } from './parameters.js';

/** One row per token id, never trained, in half the bytes of float32 or a quarter; the same rows can serve as the output head. */
export class FrozenEmbedding implements EmbeddingLayer {
  /** @param weight `[vocabSize, words]`, owned by this layer from now on. */
  constructor(readonly weight: FrozenMatrix) {
    const { packed } = weight;
    if (packed.rank !== 2) throw new Error(`FrozenEmbedding: weight must be [vocab, words], got [${packed.shape}].`);
  }

  get vocabSize(): number {
    return this.weight.packed.shape[0]!;
  }

  get hiddenSize(): number {
    return this.weight.inputSize;
  }

  apply(ids: tf.Tensor): tf.Tensor {
    return frozenRows(this.weight, ids);
  }

  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return frozenMatMul(hidden, this.weight) as tf.Tensor2D;
  }

  /** None: nothing is trained. */
  parameters(): Parameters {
    return new Map();
  }

  dispose(): void {
    tf.dispose(this.weight);
  }
}
