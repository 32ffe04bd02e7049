import { type MultiLevelConfig, resolveMultiLevelConfig } from './multi-level-config.js';

/** Pairs of a query and a key, per head, that attention looks at. */
export interface AttentionCost {
  /** The fine level, then one for each stride. */
  readonly levels: readonly number[];
  readonly total: number;
  /** `total` as a share of what plain causal attention looks at. */
  readonly share: number;
}

/**
 * Counts the work of multi-level attention over `seq` tokens. With a window as long as the text, three full levels cost
 * 21/16 of plain attention (1 + 1/4 + 1/16): they save nothing. With a short one the share goes towards 5/16.
 *
 * @throws when seq or the levels are impossible.
 */
export function attentionCost(
  seq: number,
  levels: Pick<MultiLevelConfig, 'window'> & Partial<MultiLevelConfig>,
): AttentionCost {
  if (!(Number.isSafeInteger(seq) && seq >= 1))
    throw new Error(`attentionCost: seq must be a whole number of 1 or more, got ${String(seq)}.`);
  const { window, strides } = resolveMultiLevelConfig(levels);
  const unseen = Math.max(0, seq - window);
  const fine = triangle(seq) - triangle(unseen);
  const counts = [fine, ...strides.map((stride) => triangle(Math.floor(seq / stride)))];
  const total = counts.reduce((a, b) => a + b);
  return { levels: counts, total, share: total / triangle(seq) };
}

/** `1 + 2 + ... + n`: the pairs of causal attention over n tokens. */
function triangle(n: number): number {
  return (n * (n + 1)) / 2;
}
