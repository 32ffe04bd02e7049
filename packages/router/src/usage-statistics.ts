/**
 * How evenly and how decidedly a set of tokens was routed. The three entropies are three things and never share a name.
 * All in nats.
 */
export interface UsageStatistics {
  /** Share of choices per expert, sums to 1. */
  readonly load: readonly number[];
  /** Load over the ideal `1 / experts`: 1 is an even share. */
  readonly utilisation: readonly number[];
  /** Experts that no token chose. */
  readonly deadExperts: readonly number[];
  /**
   * Mean over tokens of the entropy of that token's probabilities; at most `log experts`. Low: the router is decided.
   */
  readonly meanTokenEntropy: number;
  /** Entropy of the mean probabilities; at most `log experts`. High: the experts share the work. */
  readonly entropyOfMean: number;
  /** Mean over tokens of the entropy of the k renormalised weights; at most `log k`. */
  readonly meanTopKEntropy: number;
}

/**
 * Usage statistics of routed tokens, from plain numbers.
 *
 * @param probabilities `[tokens, experts]` row by row. @param indices chosen experts `[tokens, k]` row by row.
 * @throws when the arrays do not describe the same tokens, there are none, or an index names no expert.
 */
export function usageStatistics(
  probabilities: ArrayLike<number>,
  indices: ArrayLike<number>,
  numExperts: number,
  numExpertsPerTok: number,
): UsageStatistics {
  const tokens = probabilities.length / numExperts;
  if (tokens === 0) throw new Error('usageStatistics: there are no tokens; statistics of nothing are not numbers.');
  if (!Number.isInteger(tokens) || indices.length !== tokens * numExpertsPerTok) {
    throw new Error(
      `usageStatistics: ${probabilities.length} probabilities and ${indices.length} indices do not fit ${numExperts} experts and ${numExpertsPerTok} per token.`,
    );
  }
  const counts = new Float64Array(numExperts);
  const mean = new Float64Array(numExperts);
  let tokenEntropy = 0;
  let topKEntropy = 0;
  for (let t = 0; t < tokens; t++) {
    const row = Array.from({ length: numExperts }, (_, e) => probabilities[t * numExperts + e]!);
    const chosen = Array.from({ length: numExpertsPerTok }, (_, j) => indices[t * numExpertsPerTok + j]!);
    const stray = chosen.find((e) => !(e in row));
    if (stray !== undefined) {
      throw new Error(
        `usageStatistics: token ${t} chose expert ${stray}, but experts are 0 to ${numExperts - 1}; are the arrays swapped?`,
      );
    }
    for (const [e, p] of row.entries()) mean[e]! += p / tokens;
    for (const e of chosen) counts[e]! += 1;
    tokenEntropy += entropy(row) / tokens;
    const total = chosen.reduce((sum, e) => sum + row[e]!, 0);
    topKEntropy += entropy(chosen.map((e) => row[e]! / total)) / tokens;
  }
  const load = Array.from(counts, (count) => count / indices.length);
  return {
    load,
    utilisation: load.map((share) => share * numExperts),
    deadExperts: load.flatMap((share, e) => (share === 0 ? [e] : [])),
    meanTokenEntropy: tokenEntropy,
    entropyOfMean: entropy([...mean]),
    meanTopKEntropy: topKEntropy,
  };
}

function entropy(probabilities: readonly number[]): number {
  return -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
}
