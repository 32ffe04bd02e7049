import { softmax } from './softmax.js';

/**
 * Nucleus: keeps the fewest likeliest tokens whose probabilities reach `p`, at least one, and sets the others to
 * -Infinity (Holtzman et al., arXiv:1904.09751). Of equally likely tokens at the border the smaller ids stay.
 *
 * @param logits `[vocab]`.
 * @param p above 0, up to 1.
 * @returns `[vocab]`, a new array.
 */
export function applyTopP(logits: Float32Array, p: number): Float32Array {
  if (p >= 1) return logits.slice();
  const probabilities = softmax(logits);
  // All tokens below (1 - p) / vocab sum to less than 1 - p, so none of them is needed and few remain to sort.
  const least = (1 - p) / logits.length;
  const candidates: number[] = [];
  for (let id = 0; id < logits.length; id++) if (probabilities[id] >= least) candidates.push(id);
  candidates.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  const result = new Float32Array(logits.length).fill(Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const id of candidates) {
    result[id] = logits[id];
    sum += probabilities[id];
    if (sum >= p) break;
  }
  return result;
}
