import type { HostMatrix } from './svd.js';

/** One adapter's factors of one linear on the host, and what they count. */
export interface WeightedFactors {
  /** `[inputSize, r]` */
  readonly a: HostMatrix;
  /** `[r, outputSize]` */
  readonly b: HostMatrix;
  /** The adapter's weight times its scale; below 0 it is taken away. */
  readonly weight: number;
}

/** Factors whose product stands for the weighted sum, to be scaled by 1. */
export interface CombinedFactors {
  readonly a: HostMatrix;
  readonly b: HostMatrix;
}

/** Which of the values of one factor survive before they are summed, `[values]` in, `[values]` out. */
type Prune = (values: Float64Array) => Float64Array;

/**
 * Factors side by side: exactly the weighted sum, of all ranks together.
 *
 * @param parts one or more, of equal sizes.
 */
export function concatenate(parts: readonly WeightedFactors[]): CombinedFactors {
  const { rows } = parts[0]!.a;
  const rank = parts.reduce((sum, { a }) => sum + a.columns, 0);
  const a = new Float64Array(rows * rank);
  for (let row = 0, at = 0; row < rows; row++)
    for (const part of parts)
      for (let column = 0; column < part.a.columns; column++)
        a[at++] = part.weight * part.a.values[row * part.a.columns + column]!;
  const b = Float64Array.from(parts.flatMap((part) => [...part.b.values]));
  return { a: { values: a, rows, columns: rank }, b: { values: b, rows: rank, columns: parts[0]!.b.columns } };
}

/**
 * Sums A with A and B with B, each weighted by the root of the weight, so that one adapter alone is met exactly; of
 * several the products between them come in too.
 *
 * @param parts one or more, of equal sizes and ranks. @param sum of the values of each part, times its weight.
 */
export function sumFactors(
  parts: readonly WeightedFactors[],
  sum: (values: readonly Float64Array[], weights: readonly number[]) => Float64Array,
): CombinedFactors {
  const roots = parts.map(({ weight }) => Math.sqrt(Math.abs(weight)));
  const signed = parts.map(({ weight }, i) => Math.sign(weight) * roots[i]!);
  const of = (side: 'a' | 'b', weights: readonly number[]): HostMatrix => ({
    ...parts[0]![side],
    values: sum(
      parts.map((part) => Float64Array.from(part[side].values)),
      weights,
    ),
  });
  return { a: of('a', signed), b: of('b', roots) };
}

/** The weighted sum of what is left of each. */
export function weightedSum(prune: Prune = (values) => values) {
  return (parts: readonly Float64Array[], weights: readonly number[]): Float64Array => {
    const sum = new Float64Array(parts[0]!.length);
    for (const [part, values] of parts.map(prune).entries())
      for (let i = 0; i < sum.length; i++) sum[i]! += weights[part]! * values[i]!;
    return sum;
  };
}

/**
 * The mean of those values that point where most point (TIES-Merging, arXiv:2306.01708): the small values of each part
 * are dropped, each place elects a sign, and the weighted values of that sign are averaged.
 *
 * @param majoritySign `total`: the sign of the sum of the values; `frequency`: that of the larger number of them.
 */
export function tiesSum(prune: Prune, majoritySign: 'total' | 'frequency') {
  const vote = majoritySign === 'total' ? (value: number) => value : Math.sign;
  return (parts: readonly Float64Array[], weights: readonly number[]): Float64Array => {
    const pruned = parts.map(prune);
    return pruned[0]!.map((_, i) => {
      const elected = pruned.reduce((sum, values) => sum + vote(values[i]!), 0) >= 0 ? 1 : -1;
      let [sum, count] = [0, 0];
      for (const [part, values] of pruned.entries()) {
        if (Math.sign(values[i]!) !== elected) continue;
        sum += weights[part]! * values[i]!;
        count++;
      }
      return sum / Math.max(count, 1);
    });
  };
}

/** Keeps the largest values, `density` of all of them rounded down. */
export function keepLargest(density: number): Prune {
  return (values) => {
    const order = [...values.keys()].sort((i, j) => Math.abs(values[j]!) - Math.abs(values[i]!));
    const kept = new Float64Array(values.length);
    for (const i of order.slice(0, Math.floor(density * values.length))) kept[i] = values[i]!;
    return kept;
  };
}

/**
 * Keeps each value with the probability `density`, and more of it, so that the mean stays (DARE, arXiv:2311.03099).
 *
 * @param draw gives numbers in [0, 1).
 */
export function keepAtRandom(density: number, draw: () => number): Prune {
  return (values) => values.map((value) => (draw() < density ? value / density : 0));
}
