import { addTokens, emptySums, entropy, type RoutedTokens, type UsageSums } from './usage-sums.js';

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
  /** Share of the choices that were dropped for lack of capacity; 0 when dropless. */
  readonly dropRate: number;
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
 * @param counted which tokens count (`mask` `[tokens]`) and how many choices were dropped.
 * @throws when the arrays do not describe the same tokens, none counts, or an index names no expert.
 */
export function usageStatistics(
  probabilities: ArrayLike<number>,
  indices: ArrayLike<number>,
  numExperts: number,
  numExpertsPerTok: number,
  counted: Pick<RoutedTokens, 'mask' | 'dropped'> = {},
): UsageStatistics {
  const sums = emptySums(numExperts);
  addTokens(sums, { probabilities, indices, ...counted }, numExpertsPerTok, 'usageStatistics');
  if (sums.tokens === 0)
    throw new Error('usageStatistics: there are no tokens; statistics of nothing are not numbers.');
  return statisticsOf(sums);
}

/** The statistics of at least one token. */
export function statisticsOf(sums: UsageSums): UsageStatistics {
  const { tokens, dropped, choices, probability } = sums;
  const total = choices.reduce((sum, count) => sum + count, 0);
  const load = Array.from(choices, (count) => count / total);
  return {
    load,
    utilisation: load.map((share) => share * load.length),
    deadExperts: load.flatMap((share, e) => (share === 0 ? [e] : [])),
    dropRate: dropped / total,
    meanTokenEntropy: sums.tokenEntropy / tokens,
    entropyOfMean: entropy(Array.from(probability, (p) => p / tokens)),
    meanTopKEntropy: sums.topKEntropy / tokens,
  };
}
