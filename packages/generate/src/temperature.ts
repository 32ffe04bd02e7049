/**
 * Divides logits by a temperature above 0.
 *
 * @param logits `[vocab]`.
 * @returns `[vocab]`, a new array.
 */
export function applyTemperature(logits: Float32Array, temperature: number): Float32Array {
  // The largest logit is taken off first, which the softmax does not see, so that a small temperature cannot overflow.
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return logits.map((logit) => (logit - largest) / temperature);
}
