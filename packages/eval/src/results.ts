import type { Interval } from './interval.js';

/** One number with how many samples it rests on and its 95 % interval. */
export interface ValueResult {
  readonly kind: 'value';
  readonly name: string;
  /** The part of the dataset it is about; absent for the whole. */
  readonly group?: string;
  readonly value: number;
  readonly n: number;
  /** Absent when n is 1: one sample says nothing about spread. */
  readonly interval?: Interval;
  /** For example `bits/byte`; absent for a proportion. */
  readonly unit?: string;
  readonly better?: 'higher' | 'lower';
}

/** What a detector did, counted. Every detection score comes with one. */
export interface ConfusionResult {
  readonly kind: 'confusion';
  readonly name: string;
  readonly group?: string;
  /** What the detector looks for, for example `crisis`. */
  readonly positive: string;
  readonly truePositives: number;
  readonly falseNegatives: number;
  readonly falsePositives: number;
  readonly trueNegatives: number;
  readonly n: number;
}

/** Numbers by row and column, drawn as a heat table. */
export interface TableResult {
  readonly kind: 'table';
  readonly name: string;
  readonly rowLabel: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** `values[row][column]` */
  readonly values: readonly (readonly number[])[];
  /** 95 % intervals, same layout; absent where n is 1. */
  readonly intervals: readonly (readonly (Interval | null)[])[];
  /** Samples behind each row. */
  readonly n: readonly number[];
}

/** What a metric gives back. */
export type MetricResult = ValueResult | ConfusionResult | TableResult;

/** A question and the reply to it, kept when a task was asked to. */
export interface Exchange {
  readonly id: string;
  readonly prompt: string;
  readonly reply: string;
}

/** What one task found. */
export interface TaskResult {
  readonly name: string;
  readonly description?: string;
  readonly dataset: { readonly name: string; readonly size: number };
  readonly durationMs: number;
  readonly metrics: readonly MetricResult[];
  /** Score of each sample by id; never its content. */
  readonly samples: readonly { readonly id: string; readonly group?: string; readonly score: unknown }[];
  readonly exchanges?: readonly Exchange[];
}

/** A curve for the report, for example a training loss. */
export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

/** Version of the layout of `results.json`. */
export const RESULTS_SCHEMA_VERSION = 1;

/** Everything an evaluation found; what `results.json` holds. */
export interface EvaluationResults {
  readonly schema: 'therapeutic-moe/evaluation';
  readonly schemaVersion: typeof RESULTS_SCHEMA_VERSION;
  readonly title: string;
  /** As passed in, ISO 8601. */
  readonly date: string;
  readonly seed: number;
  /** What ran it: model, backend, machine, commit, versions. */
  readonly environment: Readonly<Record<string, string | number | boolean>>;
  readonly tasks: readonly TaskResult[];
  readonly plots: readonly Plot[];
}

/**
 * Reads `results.json` text.
 *
 * @throws when it is not JSON, not such a file, or of another version.
 */
export function parseResults(text: string): EvaluationResults {
  let parsed: Partial<EvaluationResults> | null;
  try {
    parsed = JSON.parse(text) as Partial<EvaluationResults> | null;
  } catch (cause) {
    throw new Error('parseResults: the text is not valid JSON.', { cause });
  }
  if (parsed?.schema !== 'therapeutic-moe/evaluation')
    throw new Error('parseResults: schema must be "therapeutic-moe/evaluation"; this is another kind of file.');
  if (parsed.schemaVersion !== RESULTS_SCHEMA_VERSION) {
    throw new Error(
      `parseResults: schemaVersion must be ${RESULTS_SCHEMA_VERSION}, got ${String(parsed.schemaVersion)}; run the evaluation again.`,
    );
  }
  return parsed as EvaluationResults;
}
