import { type EvaluationResults, type Plot, RESULTS_SCHEMA_VERSION, type TaskResult } from './results.js';
import type { Task } from './task.js';

/** How far an evaluation is. */
export interface EvaluationProgress {
  readonly task: string;
  /** From 1. */
  readonly taskNumber: number;
  readonly taskCount: number;
  readonly samplesDone: number;
  readonly sampleCount: number;
}

/** How an evaluation is run and what its results say about themselves. */
export interface EvaluateOptions {
  /** Feeds every bootstrap. */
  readonly seed: number;
  /** ISO 8601, passed in so that equal runs give equal files. */
  readonly date: string;
  readonly title?: string;
  readonly environment?: Readonly<Record<string, string | number | boolean>>;
  /** Curves for the report. */
  readonly plots?: readonly Plot[];
  /** Samples in flight at a time. Default 1. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: EvaluationProgress) => void;
}

/**
 * Runs tasks one after the other.
 *
 * @throws when there is no task, two tasks share a name, an option is impossible, or a sample fails; nothing is left out silently.
 */
export async function evaluate(tasks: readonly Task[], options: EvaluateOptions): Promise<EvaluationResults> {
  checkTasks(tasks);
  checkOptions(options);
  const results: TaskResult[] = [];
  for (const [index, each] of tasks.entries()) {
    const report = (samplesDone: number, sampleCount: number) =>
      options.onProgress?.({
        task: each.name,
        taskNumber: index + 1,
        taskCount: tasks.length,
        samplesDone,
        sampleCount,
      });
    report(0, each.size);
    results.push(
      await each.run({
        seed: options.seed,
        concurrency: options.concurrency ?? 1,
        signal: options.signal ?? new AbortController().signal,
        onSample: report,
      }),
    );
  }
  return {
    schema: 'therapeutic-moe/evaluation',
    schemaVersion: RESULTS_SCHEMA_VERSION,
    title: options.title ?? 'Evaluation',
    date: options.date,
    seed: options.seed,
    environment: { ...options.environment },
    tasks: results,
    plots: [...(options.plots ?? [])],
  };
}

function checkTasks(tasks: readonly Task[]): void {
  if (tasks.length === 0) throw new Error('evaluate: tasks must hold at least one task.');
  const seen = new Set<string>();
  for (const { name } of tasks) {
    if (seen.has(name)) throw new Error(`evaluate: two tasks are named "${name}"; give each a name of its own.`);
    seen.add(name);
  }
}

function checkOptions({ seed, date, concurrency = 1 }: EvaluateOptions): void {
  if (!Number.isSafeInteger(seed)) throw new Error(`evaluate: seed must be a whole number, got ${seed}.`);
  if (Number.isNaN(Date.parse(date)))
    throw new Error(`evaluate: date must be an ISO 8601 date, got ${JSON.stringify(date)}.`);
  if (!Number.isSafeInteger(concurrency) || concurrency < 1)
    throw new Error(`evaluate: concurrency must be a whole number of at least 1, got ${concurrency}.`);
}
