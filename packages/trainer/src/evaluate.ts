import * as tf from '@tensorflow/tfjs-core';
import type { EvaluationSet } from './packed-text.js';
import { countTargets, type Trainable } from './trainable.js';

/** What a model scored on fixed batches. */
export interface EvaluationResult {
  /** Mean nats per counted token. */
  readonly nats: number;
  /** exp(nats). */
  readonly perplexity: number;
  /** Bits per byte of the text; comparable between tokenizers. */
  readonly bitsPerByte: number;
  readonly tokens: number;
  readonly bytes: number;
}

/**
 * Scores fixed batches without gradients.
 *
 * @throws when the set has no counted token or the sum is not finite.
 */
export async function evaluate(trainable: Trainable, { batches, bytes }: EvaluationSet): Promise<EvaluationResult> {
  const tokens = batches.reduce((sum, batch) => sum + countTargets(batch), 0);
  if (tokens === 0) throw new Error('evaluate: the evaluation set has no counted tokens.');
  let nats = 0;
  for (const batch of batches) {
    const sum = tf.tidy(() => {
      const { crossEntropySum } = trainable.loss(batch, { tokensInStep: tokens }).metrics;
      if (!crossEntropySum) throw new Error("evaluate: the trainable's metrics must hold crossEntropySum.");
      return crossEntropySum;
    });
    nats += (await sum.data())[0];
    sum.dispose();
  }
  if (!Number.isFinite(nats)) throw new Error(`evaluate: the loss over ${tokens} tokens is ${nats}.`);
  const mean = nats / tokens;
  return {
    nats: mean,
    perplexity: Math.exp(mean),
    bitsPerByte: bytes > 0 ? nats / Math.LN2 / bytes : Number.NaN,
    tokens,
    bytes,
  };
}

/** The result over several sets together, as if they were one. */
export function combineResults(results: readonly EvaluationResult[]): EvaluationResult {
  const sum = (of: (result: EvaluationResult) => number) => results.reduce((total, result) => total + of(result), 0);
  const [tokens, bytes, nats] = [
    sum((one) => one.tokens),
    sum((one) => one.bytes),
    sum((one) => one.nats * one.tokens),
  ];
  return {
    nats: nats / tokens,
    perplexity: Math.exp(nats / tokens),
    bitsPerByte: bytes > 0 ? nats / Math.LN2 / bytes : Number.NaN,
    tokens,
    bytes,
  };
}
