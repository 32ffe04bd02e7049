import { applyRepetitionPenalty } from './repetition-penalty.js';
import type { ResolvedSampling } from './sampling.js';
import { softmax } from './softmax.js';
import { applyTemperature } from './temperature.js';
import { applyTopK } from './top-k.js';
import { applyTopP } from './top-p.js';

/** Refuses scores no token can be chosen from; a wrong number here would only show as bad text. */
function checkLogits(logits: Float32Array): void {
  let possible = false;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (Number.isNaN(logit) || logit === Number.POSITIVE_INFINITY) {
      throw new Error(
        `generate: logits: expected finite numbers from the model, got ${logit} for token ${id}; check its weights for NaN.`,
      );
    }
    if (logit !== Number.NEGATIVE_INFINITY) possible = true;
  }
  if (!possible) throw new Error('generate: logits: expected at least one possible token, got -Infinity for all.');
}

/** The id of the largest logit; of equal ones the smallest id. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  return best;
}

/** The id whose share of the unit interval holds `u`. */
function pick(probabilities: Float64Array, u: number): number {
  let last = 0;
  let sum = 0;
  for (let id = 0; id < probabilities.length; id++) {
    if (probabilities[id] === 0) continue;
    last = id;
    sum += probabilities[id];
    if (u < sum) return id;
  }
  return last; // rounding left the sum a little below 1
}

/**
 * Chooses the next token: repetition penalty, then temperature, top-k and top-p, in the order of Hugging Face's
 * processors, then one draw. At temperature 0 the likeliest token, without a draw.
 *
 * @param logits `[vocab]`, unchanged.
 * @param seen ids of the prompt and of what was generated.
 * @param sampling checked settings.
 * @param random gives the next number in [0, 1).
 * @throws if a logit is NaN or +Infinity, or none is finite.
 */
export function sampleToken(
  logits: Float32Array,
  seen: ReadonlySet<number>,
  sampling: Pick<ResolvedSampling, 'temperature' | 'topK' | 'topP' | 'repetitionPenalty'>,
  random: () => number,
): number {
  const { temperature, topK, topP, repetitionPenalty } = sampling;
  checkLogits(logits);
  let scores = logits;
  if (repetitionPenalty !== 1) scores = applyRepetitionPenalty(scores, seen, repetitionPenalty);
  if (temperature === 0) return argmax(scores);
  scores = applyTemperature(scores, temperature);
  if (topK < scores.length) scores = applyTopK(scores, topK);
  if (topP < 1) scores = applyTopP(scores, topP);
  return pick(softmax(scores), random());
}
