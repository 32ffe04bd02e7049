import type { Dataset } from '../dataset.js';
import { bootstrapInterval, type Interval } from '../interval.js';
import { groupNames, type Metric, type Scored } from '../metric.js';
import { type Task, task } from '../task.js';

/** Share of each expert in what a text visited; shares sum to 1. */
export type ExpertShares = Readonly<Record<string, number>>;

/** Tells which experts a text visits. */
export type ExpertUsage = (text: string, signal: AbortSignal) => Promise<ExpertShares>;

const SUM_TOLERANCE = 1e-3; // shares usually travel as rounded decimals

/**
 * Which experts the texts of each group visit: a table of mean shares with intervals, and the entropy of the mean usage. Texts weigh
 * equally. Every sample needs a group; where groups come from the source of a text and not from a label, say so in the description.
 */
export function expertUsageTask(options: {
  readonly name: string;
  readonly description?: string;
  readonly dataset: Dataset<string>;
  readonly usage: ExpertUsage;
}): Task {
  const { usage, ...rest } = options;
  let experts: string[] | undefined;
  return task({
    ...rest,
    solver: usage,
    scorer: (shares, sample) => {
      if (sample.group === undefined) throw new Error('the sample has no group; expert usage is reported by group.');
      experts ??= Object.keys(shares);
      return checkShares(shares, experts);
    },
    metrics: [usageByGroup, usageEntropy],
  });
}

function checkShares(shares: ExpertShares, experts: readonly string[]): ExpertShares {
  const names = Object.keys(shares);
  if (names.length !== experts.length || experts.some((expert) => !(expert in shares))) {
    throw new Error(`the experts must be ${experts.join(', ')}, got ${names.join(', ')}.`);
  }
  const sum = Object.values(shares).reduce((total, share) => total + share, 0);
  if (!(Math.abs(sum - 1) <= SUM_TOLERANCE) || Object.values(shares).some((share) => share < 0)) {
    throw new Error(`expert shares must be at least 0 and sum to 1, got a sum of ${sum}.`);
  }
  return Object.fromEntries(experts.map((expert) => [expert, shares[expert] as number]));
}

const usageByGroup: Metric<ExpertShares> = (scored, seed) => {
  const columns = Object.keys((scored[0] as Scored<ExpertShares>).score);
  const rows = groupNames(scored);
  const cells = rows.map((row) => {
    const members = scored.filter(({ group }) => group === row).map(({ score }) => score);
    return columns.map((column) =>
      meanWithInterval(
        members.map((shares) => shares[column] as number),
        seed,
      ),
    );
  });
  return [
    {
      kind: 'table',
      name: 'mean share of visits',
      rowLabel: 'domain',
      rows,
      columns,
      values: cells.map((row) => row.map(({ value }) => value)),
      intervals: cells.map((row) => row.map(({ interval }) => interval)),
      n: rows.map((row) => scored.filter(({ group }) => group === row).length),
    },
  ];
};

/** Entropy of the usage averaged over all samples: ln(experts) when all are used alike, 0 when one does all. */
const usageEntropy: Metric<ExpertShares> = (scored, seed) => {
  const columns = Object.keys((scored[0] as Scored<ExpertShares>).score);
  const rows = scored.map(({ score }) => columns.map((column) => score[column] as number));
  const entropyOver = (indices: Int32Array): number => {
    const total = columns.map((_, column) =>
      indices.reduce((sum, index) => sum + (rows[index]?.[column] as number), 0),
    );
    return total.reduce(
      (entropy, sum) => (sum > 0 ? entropy - (sum / indices.length) * Math.log(sum / indices.length) : entropy),
      0,
    );
  };
  const interval = bootstrapInterval(rows.length, entropyOver, seed);
  return [
    {
      kind: 'value',
      name: 'entropy of mean usage',
      value: entropyOver(Int32Array.from(rows, (_, index) => index)),
      n: rows.length,
      unit: `nats of at most ${Math.log(columns.length).toFixed(3)}`,
      ...(interval && { interval }),
    },
  ];
};

function meanWithInterval(values: readonly number[], seed: number): { value: number; interval: Interval | null } {
  const meanOf = (indices: Int32Array) =>
    indices.reduce((sum, index) => sum + (values[index] as number), 0) / indices.length;
  const value = values.reduce((sum, each) => sum + each, 0) / values.length;
  return { value, interval: bootstrapInterval(values.length, meanOf, seed) ?? null };
}
