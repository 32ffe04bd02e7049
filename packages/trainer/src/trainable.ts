import type * as tf from '@tensorflow/tfjs-core';

/** The number of domains' label that means "this token has none". */
export const noDomain = -1;

/** The target that is not counted in any loss. */
export const ignoredTarget = -100;

/** One micro-batch of token windows, as plain arrays in row order `[batch, seq]`. */
export interface TrainBatch {
  readonly batch: number;
  readonly seq: number;
  /** `[batch · seq]` input tokens. */
  readonly ids: Int32Array;
  /** `[batch · seq]` next tokens; -100 is not counted. */
  readonly targets: Int32Array;
  /** `[batch · seq]`, 1 where a real token stands, 0 where the row is padded. */
  readonly mask: Uint8Array;
  /** `[batch · seq]` domain of each token; -1 where none is known. */
  readonly domains: Int32Array;
}

/** What a micro-batch cost. Scalars and vectors in `metrics` belong to the caller, who disposes them with `total`. */
export interface LossTerms {
  /** The scalar to differentiate: cross-entropy divided by the step's counted tokens, plus weighted auxiliary terms. */
  readonly total: tf.Scalar;
  /**
   * Scalars or 1-D: `crossEntropySum` (nats over the counted tokens, required), and where the model has them `balance`,
   * `z`, `domain`, `routingEntropy`, `dropRate` (means over the batch), `expertLoad` `[experts]` (shares), and vectors by
   * layer such as `expertLoadByLayer` `[layers · experts]`.
   */
  readonly metrics: Readonly<Record<string, tf.Tensor>>;
}

/** The metrics of a step as plain numbers, averaged over its micro-batches by their counted tokens. */
export type ReadMetrics = Readonly<Record<string, readonly number[]>>;

/** Anything with Variables and a loss. */
export interface Trainable {
  /** The trainable Variables by path; the same paths and objects at every call. */
  parameters(): ReadonlyMap<string, tf.Variable>;
  /**
   * The loss of one micro-batch. `total` is `crossEntropySum / tokensInStep` plus auxiliary losses weighted by the batch's
   * share of `tokensInStep`, so that adding the gradients of a step's micro-batches gives those of one big batch. `seed` is there
   * while training and seeds dropout; in evaluation it is absent.
   */
  loss(batch: TrainBatch, step: { tokensInStep: number; seed?: number }): LossTerms;
  /** Variables that are saved and restored with the parameters but not trained by gradients. Absent: none. */
  buffers?(): ReadonlyMap<string, tf.Variable>;
  /** Looks at a step's metrics before anything is updated. @throws to refuse the step, in words of its own. */
  checkMetrics?(metrics: ReadMetrics): void;
  /** Called after each update: the place to change buffers. What it does must follow from its argument alone. */
  afterStep?(metrics: ReadMetrics): void;
}

/** Tokens of a batch whose prediction counts. */
export function countTargets(batch: TrainBatch): number {
  let counted = 0;
  for (const target of batch.targets) if (target !== ignoredTarget) counted += 1;
  return counted;
}
