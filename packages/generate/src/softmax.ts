/**
 * Logits → probabilities, in float64 so that the sum of a large vocabulary is right.
 *
 * @param logits `[vocab]`; -Infinity means never. At least one is finite.
 * @returns `[vocab]`, sums to 1.
 */
export function softmax(logits: Float32Array): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  const result = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += result[i] = Math.exp(logits[i] - largest);
  for (let i = 0; i < result.length; i++) result[i] /= sum;
  return result;
}
