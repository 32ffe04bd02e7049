import type { Dataset, Sample } from './dataset.js';
import type { Metric, Scored } from './metric.js';
import type { Exchange, TaskResult } from './results.js';

/** Gives an output for an input, usually by asking a model. */
export type Solver<Input, Output> = (input: Input, signal: AbortSignal) => Output | Promise<Output>;

/** Gives a score for an output: a number, a boolean, or an object of them. */
export type Scorer<Input, Target, Output, Score> = (
  output: Output,
  sample: Sample<Input, Target>,
) => Score | Promise<Score>;

/** The four nouns of an evaluation. */
export interface TaskOptions<Input, Target, Output, Score> {
  /** Unique within an evaluation. */
  readonly name: string;
  readonly description?: string;
  readonly dataset: Dataset<Input, Target>;
  readonly solver: Solver<Input, Output>;
  readonly scorer: Scorer<Input, Target, Output, Score>;
  readonly metrics: readonly Metric<Score>[];
  /** Keeps prompt and reply of a sample in the results. Only for text that nobody wrote in confidence. */
  readonly exchange?: (output: Output, sample: Sample<Input, Target>) => Exchange;
}

/** How a task is run. */
export interface RunOptions {
  readonly seed: number;
  readonly concurrency: number;
  readonly signal: AbortSignal;
  readonly onSample: (done: number, total: number) => void;
}

/** A task ready to run, its types closed over. */
export interface Task {
  readonly name: string;
  readonly size: number;
  run(options: RunOptions): Promise<TaskResult>;
}

/**
 * Composes dataset, solver, scorer and metrics.
 *
 * @throws when the name is empty or there is no metric.
 */
export function task<Input, Target, Output, Score>(options: TaskOptions<Input, Target, Output, Score>): Task {
  if (options.name.trim() === '') throw new Error('task: name must not be empty.');
  if (options.metrics.length === 0) throw new Error(`task "${options.name}": metrics must name at least one metric.`);
  return { name: options.name, size: options.dataset.samples.length, run: (run) => runTask(options, run) };
}

async function runTask<Input, Target, Output, Score>(
  options: TaskOptions<Input, Target, Output, Score>,
  run: RunOptions,
): Promise<TaskResult> {
  const { name, description, dataset, metrics } = options;
  const start = performance.now();
  const solved = await solveAll(options, run);
  const scored = solved.map(({ scored: each }) => each);
  const results = metrics.flatMap((metric) => metric(scored, run.seed));
  for (const result of results) requireFinite(result, `task "${name}", metric "${result.name}"`);
  const exchanges = solved.flatMap(({ exchange }) => (exchange ? [exchange] : []));
  return {
    name,
    ...(description !== undefined && { description }),
    dataset: { name: dataset.name, size: dataset.samples.length },
    durationMs: Math.round(performance.now() - start),
    metrics: results,
    samples: scored,
    ...(exchanges.length > 0 && { exchanges }),
  };
}

interface Solved<Score> {
  readonly scored: Scored<Score>;
  readonly exchange?: Exchange;
}

/** Runs `concurrency` samples at a time; the order of results is that of the dataset. */
async function solveAll<Input, Target, Output, Score>(
  options: TaskOptions<Input, Target, Output, Score>,
  run: RunOptions,
): Promise<Solved<Score>[]> {
  const { samples } = options.dataset;
  const solved = new Array<Solved<Score>>(samples.length);
  let next = 0;
  let done = 0;
  let failed = false;
  const work = async () => {
    while (next < samples.length && !failed) {
      const index = next++;
      try {
        run.signal.throwIfAborted();
        solved[index] = await solveOne(options, samples[index] as Sample<Input, Target>, run.signal);
      } catch (error) {
        failed = true;
        throw error;
      }
      run.onSample(++done, samples.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(run.concurrency, samples.length) }, work));
  return solved;
}

async function solveOne<Input, Target, Output, Score>(
  options: TaskOptions<Input, Target, Output, Score>,
  sample: Sample<Input, Target>,
  signal: AbortSignal,
): Promise<Solved<Score>> {
  const where = `task "${options.name}", sample "${sample.id}"`;
  const output = await attempt(`${where}: the solver failed`, signal, () => options.solver(sample.input, signal));
  const score = await attempt(`${where}: the scorer failed`, signal, () => options.scorer(output, sample));
  requireFinite(score, where);
  return {
    scored: { id: sample.id, ...(sample.group !== undefined && { group: sample.group }), score },
    ...(options.exchange && { exchange: options.exchange(output, sample) }),
  };
}

async function attempt<Result>(
  where: string,
  signal: AbortSignal,
  run: () => Result | Promise<Result>,
): Promise<Result> {
  try {
    return await run();
  } catch (cause) {
    signal.throwIfAborted();
    throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Refuses NaN and infinities anywhere in a score: they would turn a whole metric into nothing, or hide in it. */
function requireFinite(value: unknown, where: string, path = 'score'): void {
  if (typeof value === 'number' && !Number.isFinite(value))
    throw new Error(`${where}: ${path} is ${value}; every score must be a finite number.`);
  if (typeof value !== 'object' || value === null) return;
  for (const [key, item] of Object.entries(value)) requireFinite(item, where, `${path}.${key}`);
}
