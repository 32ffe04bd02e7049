import { bootstrapInterval, wilsonInterval } from './interval.js';
import type { MetricResult, ValueResult } from './results.js';

/** A sample's score as a metric sees it. */
export interface Scored<Score> {
  readonly id: string;
  readonly group?: string;
  readonly score: Score;
}

/** Turns the scores of a task into results. `seed` feeds bootstraps. */
export type Metric<Score> = (scored: readonly Scored<Score>[], seed: number) => readonly MetricResult[];

/** How a value is shown. */
export interface ValueOptions {
  readonly unit?: string;
  readonly better?: 'higher' | 'lower';
}

/** The share of samples for which `holds`, with Wilson's interval. */
export function proportion<Score>(
  name: string,
  holds: (score: Score) => boolean,
  options: ValueOptions = {},
): Metric<Score> {
  return (scored) => {
    const successes = scored.filter(({ score }) => holds(score)).length;
    return [
      {
        kind: 'value',
        name,
        value: successes / scored.length,
        n: scored.length,
        interval: wilsonInterval(successes, scored.length),
        ...options,
      },
    ];
  };
}

/** The mean of a number per sample, with a bootstrap interval. */
export function mean<Score>(
  name: string,
  numberOf: (score: Score) => number,
  options: ValueOptions = {},
): Metric<Score> {
  return ratioOfSums(
    name,
    numberOf,
    () => 1,
    (ratio) => ratio,
    options,
  );
}

/**
 * A function of `sum(numerator) / sum(denominator)` over samples, for example bits per byte: long samples weigh more than short ones.
 * The bootstrap draws whole samples.
 */
export function ratioOfSums<Score>(
  name: string,
  numerator: (score: Score) => number,
  denominator: (score: Score) => number,
  transform: (ratio: number) => number,
  options: ValueOptions = {},
): Metric<Score> {
  return (scored, seed) => {
    const above = scored.map(({ score }) => numerator(score));
    const below = scored.map(({ score }) => denominator(score));
    const statistic = (indices: Int32Array): number => {
      let sumAbove = 0;
      let sumBelow = 0;
      for (const index of indices) {
        sumAbove += above[index] as number;
        sumBelow += below[index] as number;
      }
      return transform(sumAbove / sumBelow);
    };
    const all = Int32Array.from(scored, (_, index) => index);
    const interval = bootstrapInterval(scored.length, statistic, seed);
    return [
      { kind: 'value', name, value: statistic(all), n: scored.length, ...(interval && { interval }), ...options },
    ];
  };
}

/** The same metric for each group of the dataset, in order of appearance; nothing when there are fewer than two groups. */
export function byGroup<Score>(metric: Metric<Score>): Metric<Score> {
  return (scored, seed) => {
    const groups = groupNames(scored);
    if (groups.length < 2) return [];
    return groups.flatMap((group) =>
      metric(
        scored.filter((each) => each.group === group),
        seed,
      ).map((result) => (result.kind === 'table' ? result : ({ ...result, group } as ValueResult))),
    );
  };
}

/** Names of the groups in order of appearance. */
export function groupNames(scored: readonly { readonly group?: string }[]): string[] {
  return [...new Set(scored.flatMap(({ group }) => (group === undefined ? [] : [group])))];
}
