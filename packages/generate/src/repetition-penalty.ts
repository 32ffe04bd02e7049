/**
 * Makes tokens that were seen less likely: a positive logit is divided by the penalty, a negative one multiplied
 * (CTRL, arXiv:1909.05858, section 4.1).
 *
 * @param logits `[vocab]`.
 * @param seen ids, each counted once.
 * @param penalty above 1 discourages, 1 changes nothing.
 * @returns `[vocab]`, a new array.
 */
export function applyRepetitionPenalty(logits: Float32Array, seen: ReadonlySet<number>, penalty: number): Float32Array {
  const result = logits.slice();
  for (const id of seen) result[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
  return result;
}
