/** Routed tokens of one layer as plain numbers, row by row. */
export interface RoutedTokens {
  /** `[tokens, experts]`. */
  readonly probabilities: ArrayLike<number>;
  /** Chosen experts `[tokens, k]`. */
  readonly indices: ArrayLike<number>;
  /** `[tokens]`, 0 where the token is padding and not counted. Absent: all are real. */
  readonly mask?: ArrayLike<number>;
  /** How many choices of these tokens were dropped for lack of capacity. Absent: none. */
  readonly dropped?: number;
}

/** Sums over tokens from which usage statistics are made; they add up over batches. */
export interface UsageSums {
  tokens: number;
  dropped: number;
  tokenEntropy: number;
  topKEntropy: number;
  /** `[experts]`: how many choices went to each. */
  readonly choices: Float64Array;
  /** `[experts]`: sum of the probabilities. */
  readonly probability: Float64Array;
}

/** The sums of no tokens. */
export function emptySums(numExperts: number): UsageSums {
  return {
    tokens: 0,
    dropped: 0,
    tokenEntropy: 0,
    topKEntropy: 0,
    choices: new Float64Array(numExperts),
    probability: new Float64Array(numExperts),
  };
}

/**
 * Adds routed tokens to sums.
 *
 * @param where who asks, for the message.
 * @throws when the arrays do not describe the same tokens, or an index names no expert; nothing is added then.
 */
export function addTokens(sums: UsageSums, routed: RoutedTokens, numExpertsPerTok: number, where: string): void {
  const { probabilities, indices, mask, dropped = 0 } = routed;
  const numExperts = sums.choices.length;
  checkTokens(routed, numExperts, numExpertsPerTok, where);
  sums.dropped += dropped;
  for (let t = 0; t < probabilities.length / numExperts; t++) {
    if (mask?.[t] === 0) continue;
    const row = Array.from({ length: numExperts }, (_, e) => probabilities[t * numExperts + e]!);
    const chosen = Array.from({ length: numExpertsPerTok }, (_, j) => indices[t * numExpertsPerTok + j]!);
    sums.tokens += 1;
    for (const [e, p] of row.entries()) sums.probability[e]! += p;
    for (const e of chosen) sums.choices[e]! += 1;
    sums.tokenEntropy += entropy(row);
    sums.topKEntropy += entropy(shares(chosen.map((e) => row[e]!)));
  }
}

/** In nats. */
export function entropy(probabilities: readonly number[]): number {
  return -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
}

/** The numbers over their sum; themselves where all are 0, as forced choices of impossible experts are. */
function shares(numbers: readonly number[]): readonly number[] {
  const total = numbers.reduce((sum, number) => sum + number, 0);
  return total > 0 ? numbers.map((number) => number / total) : numbers;
}

function checkTokens(
  { probabilities, indices, mask, dropped = 0 }: RoutedTokens,
  numExperts: number,
  numExpertsPerTok: number,
  where: string,
): void {
  const tokens = probabilities.length / numExperts;
  if (!Number.isInteger(tokens) || indices.length !== tokens * numExpertsPerTok) {
    throw new Error(
      `${where}: ${probabilities.length} probabilities and ${indices.length} indices do not fit ${numExperts} experts and ${numExpertsPerTok} per token.`,
    );
  }
  if (mask && mask.length !== tokens) {
    throw new Error(`${where}: the mask has ${mask.length} entries for ${tokens} tokens; give one each.`);
  }
  if (!(dropped >= 0 && dropped <= indices.length)) {
    throw new Error(`${where}: dropped must be from 0 to the ${indices.length} choices, got ${dropped}.`);
  }
  for (let i = 0; i < probabilities.length; i++) {
    if (Number.isFinite(probabilities[i]) || mask?.[Math.floor(i / numExperts)] === 0) continue;
    throw new Error(
      `${where}: token ${Math.floor(i / numExperts)} has a probability of ${probabilities[i]}; its gate is not finite.`,
    );
  }
  for (let i = 0; i < indices.length; i++) {
    if (Number.isInteger(indices[i]) && indices[i]! >= 0 && indices[i]! < numExperts) continue;
    throw new Error(
      `${where}: token ${Math.floor(i / numExpertsPerTok)} chose expert ${indices[i]}, but experts are 0 to ${numExperts - 1}; are the arrays swapped?`,
    );
  }
}
