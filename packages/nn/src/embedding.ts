import type * as tf from '@tensorflow/tfjs-core';
import { gather, matMul } from '@therapeutic-moe/kernels';
import { normalVariable } from './initialise.js';
import type { Parameters } from './parameters.js';

/** One row per token id, which can serve as the output head too: trained, or frozen in fewer bytes. */
export interface EmbeddingLayer {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** @param ids int32 of any shape, each in `[0, vocabSize)` @returns `[...ids.shape, hiddenSize]`. Caller disposes. */
  apply(ids: tf.Tensor): tf.Tensor;
  /** The tied head. @param hidden `[rows, hiddenSize]` @returns `[rows, vocabSize]`. Caller disposes. */
  logits(hidden: tf.Tensor2D): tf.Tensor2D;
  parameters(): Parameters;
  dispose(): void;
}

/** One learned row per token id; the same rows can serve as the output head (arXiv:1608.05859). */
export class Embedding implements EmbeddingLayer {
  /** @param weight `[vocabSize, hiddenSize]`, owned by this layer from now on. */
  constructor(readonly weight: tf.Variable) {
    if (weight.rank !== 2) throw new Error(`Embedding: weight must be [vocab, hidden], got [${weight.shape}].`);
  }

  /** Normally distributed rows. */
  static create(
    vocabSize: number,
    hiddenSize: number,
    { deviation, seed }: { deviation: number; seed: number },
  ): Embedding {
    return new Embedding(normalVariable([vocabSize, hiddenSize], deviation, seed));
  }

  get vocabSize(): number {
    return this.weight.shape[0]!;
  }

  get hiddenSize(): number {
    return this.weight.shape[1]!;
  }

  apply(ids: tf.Tensor): tf.Tensor {
    return gather(this.weight, ids);
  }

  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    return matMul(hidden, this.weight, false, true) as tf.Tensor2D;
  }

  parameters(): Parameters {
    return new Map([['weight', this.weight]]);
  }

  dispose(): void {
    this.weight.dispose();
  }
}
