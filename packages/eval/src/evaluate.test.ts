import { describe, expect, it } from 'vitest';
import { dataset } from './dataset.js';
import { type EvaluationProgress, evaluate } from './evaluate.js';
import { mean, proportion } from './metric.js';
import { parseResults } from './results.js';
import { task } from './task.js';

const options = { seed: 7, date: '2026-11-22' };
const numbers = dataset(
  'numbers',
  [1, 2, 3, 5, 7].map((input) => ({ id: `n${input}`, input, target: input % 2 === 1 })),
);
interface Score {
  readonly output: number;
  readonly odd: boolean;
}

const square = (solver: (input: number) => number | Promise<number> = (input) => input ** 2, name = 'square') =>
  task({
    name,
    dataset: numbers,
    solver,
    scorer: (output, { target }) => ({ output, odd: (output % 2 === 1) === target }),
    metrics: [mean('mean', ({ output }: Score) => output), proportion('odd stays odd', ({ odd }: Score) => odd)],
  });

describe('evaluate', () => {
  it('runs dataset, solver, scorer and metrics, each value with n and an interval', async () => {
    const results = await evaluate([square()], options);
    const [average, share] = results.tasks[0]?.metrics ?? [];
    expect(average).toMatchObject({
      kind: 'value',
      value: (1 + 4 + 9 + 25 + 49) / 5,
      n: 5,
      interval: { level: 0.95, method: 'bootstrap' },
    });
    expect(share).toMatchObject({ value: 1, n: 5, interval: { high: 1, method: 'wilson' } });
    expect(results.tasks[0]?.samples[2]).toEqual({ id: 'n3', score: { output: 9, odd: true } });
  });

  it('gives equal results for equal seeds, whatever the concurrency', async () => {
    const slow = (input: number) => new Promise<number>((resolve) => setTimeout(() => resolve(input ** 2), 10 - input));
    const one = await evaluate([square()], options);
    const many = await evaluate([square(slow)], { ...options, concurrency: 3 });
    const timeless = (results: typeof one) => results.tasks.map((each) => ({ ...each, durationMs: 0 }));
    expect(timeless(many)).toEqual(timeless(one));
  });

  it('reports progress up to the last sample', async () => {
    const seen: EvaluationProgress[] = [];
    await evaluate([square(), square(undefined, 'again')], {
      ...options,
      onProgress: (progress) => seen.push(progress),
    });
    expect(seen.length).toBe(12);
    expect(seen.at(-1)).toEqual({ task: 'again', taskNumber: 2, taskCount: 2, samplesDone: 5, sampleCount: 5 });
  });

  it('refuses a score that is not finite, naming task, sample and field', async () => {
    await expect(evaluate([square((input) => (input === 3 ? Number.NaN : input))], options)).rejects.toThrow(
      'task "square", sample "n3": score.output is NaN; every score must be a finite number.',
    );
  });

  it('names the sample that failed and keeps the cause', async () => {
    const failing = square((input) => {
      if (input === 5) throw new Error('no answer');
      return input;
    });
    const error = await evaluate([failing], options).catch((reason: Error) => reason);
    expect(error).toMatchObject({
      message: 'task "square", sample "n5": the solver failed: no answer',
      cause: { message: 'no answer' },
    });
  });

  it('stops on abort and starts no further sample', async () => {
    const controller = new AbortController();
    let solved = 0;
    const running = evaluate(
      [
        square((input) => {
          solved++;
          if (input === 2) controller.abort(new Error('enough'));
          return input;
        }),
      ],
      { ...options, signal: controller.signal },
    );
    await expect(running).rejects.toThrow('enough');
    expect(solved).toBe(2);
  });

  it('refuses impossible options', async () => {
    await expect(evaluate([], options)).rejects.toThrow('evaluate: tasks must hold at least one task.');
    await expect(evaluate([square(), square()], options)).rejects.toThrow('evaluate: two tasks are named "square"');
    await expect(evaluate([square()], { ...options, seed: 0.5 })).rejects.toThrow(
      'evaluate: seed must be a whole number, got 0.5.',
    );
    await expect(evaluate([square()], { ...options, date: 'soon' })).rejects.toThrow(
      'evaluate: date must be an ISO 8601 date, got "soon".',
    );
    await expect(evaluate([square()], { ...options, concurrency: 0 })).rejects.toThrow(
      'evaluate: concurrency must be a whole number of at least 1, got 0.',
    );
    expect(() => task({ name: 'x', dataset: numbers, solver: () => 1, scorer: () => 1, metrics: [] })).toThrow(
      'task "x": metrics must name at least one metric.',
    );
  });
});

describe('parseResults', () => {
  it('reads back what was written and refuses other files', async () => {
    const results = await evaluate([square()], options);
    expect(parseResults(JSON.stringify(results))).toEqual(results);
    expect(() => parseResults('{')).toThrow('parseResults: the text is not valid JSON.');
    expect(() => parseResults('{}')).toThrow('schema must be "therapeutic-moe/evaluation"');
    expect(() => parseResults(JSON.stringify({ ...results, schemaVersion: 9 }))).toThrow(
      'schemaVersion must be 1, got 9; run the evaluation again.',
    );
  });
});
