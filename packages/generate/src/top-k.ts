/**
 * Keeps the `k` largest logits and sets the others to -Infinity. Of equal logits at the border the smaller ids stay.
 *
 * @param logits `[vocab]`.
 * @returns `[vocab]`, a new array.
 */
export function applyTopK(logits: Float32Array, k: number): Float32Array {
  if (k >= logits.length) return logits.slice();
  const border = logits.slice().sort()[logits.length - k];
  let room = k;
  for (const logit of logits) if (logit > border) room--;
  return logits.map((logit) => {
    if (logit > border) return logit;
    return logit === border && room-- > 0 ? logit : Number.NEGATIVE_INFINITY;
  });
}
