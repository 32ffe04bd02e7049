import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { quantileSorted } from 'simple-statistics';

/** A two-sided interval around a score. */
export interface Interval {
  readonly low: number;
  readonly high: number;
  readonly level: number;
  readonly method: 'wilson' | 'bootstrap';
}

/** The confidence level of every interval of this package. */
export const CONFIDENCE_LEVEL = 0.95;
/** The 97.5 % quantile of the standard normal; simple-statistics' `probit` is only good to three digits. */
const Z = 1.959963984540054;
const BOOTSTRAP_RESAMPLES = 2000;

/**
 * Wilson's score interval of a proportion (E. B. Wilson, 1927); sound for small n and for 0 and n successes.
 *
 * @throws when `successes` is not between 0 and `n`, or n is 0.
 */
export function wilsonInterval(successes: number, n: number): Interval {
  if (!(n > 0) || successes < 0 || successes > n)
    throw new Error(`wilsonInterval: need 0 <= successes <= n and n > 0, got ${successes} of ${n}.`);

  const p = successes / n;
  const centre = (p + Z ** 2 / (2 * n)) / (1 + Z ** 2 / n);
  const half = (Z / (1 + Z ** 2 / n)) * Math.sqrt((p * (1 - p)) / n + Z ** 2 / (4 * n ** 2));
  const low = successes === 0 ? 0 : Math.max(0, centre - half);
  const high = successes === n ? 1 : Math.min(1, centre + half);
  return { low, high, level: CONFIDENCE_LEVEL, method: 'wilson' };
}

/**
 * Percentile bootstrap over samples (B. Efron, 1979): rows are drawn with replacement and the statistic computed anew. The same seed
 * gives the same interval.
 *
 * @param statistic of the rows at `indices`; indices repeat.
 * @returns undefined for fewer than two rows, which carry no information on their spread.
 */
export function bootstrapInterval(
  n: number,
  statistic: (indices: Int32Array) => number,
  seed: number,
): Interval | undefined {
  if (n < 2) return undefined;
  const random = xoroshiro128plus(seed | 0);
  const indices = new Int32Array(n);
  const values = Array.from({ length: BOOTSTRAP_RESAMPLES }, () => {
    for (let position = 0; position < n; position++) indices[position] = uniformInt(random, 0, n - 1);
    return statistic(indices);
  }).sort((a, b) => a - b);
  const tail = (1 - CONFIDENCE_LEVEL) / 2;
  return {
    low: quantileSorted(values, tail),
    high: quantileSorted(values, 1 - tail),
    level: CONFIDENCE_LEVEL,
    method: 'bootstrap',
  };
}
