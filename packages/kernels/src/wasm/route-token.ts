/** Which experts one token visits. */
export interface TokenChoice {
  /** Softmax of all logits. */
  readonly probabilities: Float32Array;
  /** Best first; among equals the lower index. */
  readonly indices: Int32Array;
  readonly weights: Float32Array;
}

/**
 * Top-k gating of one token. With `normalise` the weights add up to 1, which is also what a softmax over the chosen
 * logits gives.
 *
 * @throws when a logit is not finite: a NaN would be sorted somewhere and route silently.
 */
export function routeToken(logits: Float32Array, k: number, normalise: boolean): TokenChoice {
  const bad = logits.findIndex((logit) => !Number.isFinite(logit));
  if (bad >= 0) {
    throw new Error(
      `decodeLayer: the gate logit of expert ${bad} is ${logits[bad]}; the hidden state or the gate is not finite.`,
    );
  }
  const probabilities = softmax(logits);
  const indices = largest(logits, k);
  const weights = Float32Array.from(indices, (expert) => probabilities[expert]!);
  if (!normalise) return { probabilities, indices, weights };
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return { probabilities, indices, weights: weights.map((weight) => weight / sum) };
}

function softmax(logits: Float32Array): Float32Array {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (logit) => Math.exp(logit - top)); // float64
  const sum = powers.reduce((total, power) => total + power, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

function largest(values: Float32Array, k: number): Int32Array {
  const order = Int32Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
  return order.slice(0, k);
}
