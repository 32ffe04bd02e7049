import { describe, expect, it } from 'vitest';
import type { EvaluationMessage } from '../chat-model.js';
import { dataset } from '../dataset.js';
import { evaluate } from '../evaluate.js';
import type { MetricResult } from '../results.js';
import type { Task } from '../task.js';
import { chatTask } from './chat.js';
import { detectionTask } from './detection.js';
import { expertUsageTask } from './expert-usage.js';
import { languageModelTask } from './language-model.js';

const run = async (each: Task) => {
  const { tasks } = await evaluate([each], { seed: 1, date: '2026-11-22' });
  return tasks[0] as (typeof tasks)[number];
};
const findValue = (metrics: readonly MetricResult[], name: string, group?: string) => {
  const found = metrics.find((metric) => metric.kind === 'value' && metric.name === name && metric.group === group);
  return found?.kind === 'value' ? found : undefined;
};

describe('languageModelTask', () => {
  const texts = dataset('texts', [
    { id: 'a', input: 'aa', target: undefined, group: 'short' },
    { id: 'b', input: 'bbbbbbbb', target: undefined, group: 'long' },
  ]);
  const score = async (text: string) => ({
    nats: text.length === 2 ? 2 : 4,
    tokens: text.length / 2,
    bytes: text.length,
  });

  it('pools nats over all texts, so long texts weigh more', async () => {
    const { metrics } = await run(languageModelTask({ name: 'lm', dataset: texts, score }));
    expect(findValue(metrics, 'bits per byte')).toMatchObject({ value: 6 / 10 / Math.LN2, n: 2, unit: 'bits/byte' });
    expect(findValue(metrics, 'perplexity')?.value).toBeCloseTo(Math.exp(6 / 5), 12);
    expect(findValue(metrics, 'bits per byte', 'short')).toMatchObject({ value: 1 / Math.LN2, n: 1 });
    expect(findValue(metrics, 'bits per byte', 'short')?.interval).toBeUndefined();
    expect(findValue(metrics, 'perplexity', 'long')?.value).toBeCloseTo(Math.E, 12);
  });

  it('gives a uniform model over bytes 8 bits per byte and perplexity 256', async () => {
    const uniform = async (text: string) => ({
      nats: text.length * Math.log(256),
      tokens: text.length,
      bytes: text.length,
    });
    const { metrics } = await run(languageModelTask({ name: 'lm', dataset: texts, score: uniform }));
    expect(findValue(metrics, 'bits per byte')?.value).toBeCloseTo(8, 10);
    expect(findValue(metrics, 'perplexity')?.value).toBeCloseTo(256, 8);
  });

  it('refuses impossible scores', async () => {
    await expect(
      run(
        languageModelTask({
          name: 'lm',
          dataset: texts,
          score: async () => ({ nats: Number.NaN, tokens: 1, bytes: 1 }),
        }),
      ),
    ).rejects.toThrow('task "lm", sample "a": the scorer failed: nats must be a number of at least 0, got NaN.');
    await expect(
      run(languageModelTask({ name: 'lm', dataset: texts, score: async () => ({ nats: 1, tokens: 0, bytes: 1 }) })),
    ).rejects.toThrow('tokens and bytes must be above 0, got 0 and 1.');
  });
});

describe('expertUsageTask', () => {
  const texts = dataset('texts', [
    { id: 'a', input: 'a', target: undefined, group: 'x' },
    { id: 'b', input: 'b', target: undefined, group: 'x' },
    { id: 'c', input: 'c', target: undefined, group: 'y' },
  ]);
  const shares: Record<string, Record<string, number>> = {
    a: { e1: 1, e2: 0 },
    b: { e2: 0.5, e1: 0.5 },
    c: { e1: 0, e2: 1 },
  };

  it('gives mean shares by group, whatever the order of the experts', async () => {
    const { metrics } = await run(
      expertUsageTask({ name: 'usage', dataset: texts, usage: async (text) => shares[text] ?? {} }),
    );
    expect(metrics[0]).toMatchObject({
      kind: 'table',
      rows: ['x', 'y'],
      columns: ['e1', 'e2'],
      values: [
        [0.75, 0.25],
        [0, 1],
      ],
      n: [2, 1],
    });
    expect(metrics[0]?.kind === 'table' && metrics[0].intervals[1]?.[0]).toBeNull();
    expect(metrics[1]).toMatchObject({ kind: 'value', unit: 'nats of at most 0.693', value: Math.LN2, n: 3 });
  });

  it('refuses shares that do not sum to 1, other experts and samples without a group', async () => {
    const broken = (usage: Record<string, number>) =>
      run(
        expertUsageTask({
          name: 'usage',
          dataset: texts,
          usage: async (text) => (text === 'a' ? { e1: 1, e2: 0 } : usage),
        }),
      );
    await expect(broken({ e1: 0.5, e2: 0.2 })).rejects.toThrow(
      'expert shares must be at least 0 and sum to 1, got a sum of 0.7.',
    );
    await expect(broken({ e1: 0.5, e3: 0.5 })).rejects.toThrow('the experts must be e1, e2, got e1, e3.');
    const groupless = dataset('g', [{ id: 'a', input: 'a', target: undefined }]);
    await expect(
      run(expertUsageTask({ name: 'usage', dataset: groupless, usage: async () => ({ e1: 1 }) })),
    ).rejects.toThrow('the sample has no group');
  });
});

describe('detectionTask', () => {
  const sentences = dataset('sentences', [
    { id: '1', input: 'storm', target: true, group: 'open' },
    { id: '2', input: 'clouds', target: true, group: 'veiled' },
    { id: '3', input: 'storm in a teacup', target: false, group: 'idiom' },
    { id: '4', input: 'sun', target: false, group: 'plain' },
    { id: '5', input: 'rain', target: false, group: 'plain' },
  ]);
  const detect = (text: string) => text.includes('storm');

  it('counts the matrix and keeps sensitivity and false alarms apart', async () => {
    const { metrics } = await run(detectionTask({ name: 'weather', dataset: sentences, positive: 'storm', detect }));
    expect(metrics.find(({ kind }) => kind === 'confusion')).toMatchObject({
      positive: 'storm',
      truePositives: 1,
      falseNegatives: 1,
      falsePositives: 1,
      trueNegatives: 2,
      n: 5,
    });
    expect(findValue(metrics, 'sensitivity')).toMatchObject({ value: 0.5, n: 2, interval: { method: 'wilson' } });
    expect(findValue(metrics, 'false alarm rate')).toMatchObject({ value: 1 / 3, n: 3 });
    expect(findValue(metrics, 'sensitivity', 'veiled')).toMatchObject({ value: 0, n: 1 });
    expect(findValue(metrics, 'false alarm rate', 'idiom')).toMatchObject({ value: 1, n: 1 });
    expect(findValue(metrics, 'sensitivity', 'plain')).toBeUndefined();
  });

  it('reports no false alarm rate when there is nothing that could raise one', async () => {
    const only = dataset('only', [{ id: '1', input: 'storm', target: true }]);
    const { metrics } = await run(detectionTask({ name: 'weather', dataset: only, positive: 'storm', detect }));
    expect(findValue(metrics, 'false alarm rate')).toBeUndefined();
    expect(findValue(metrics, 'sensitivity')?.n).toBe(1);
  });

  it('refuses an answer that is neither true nor false', async () => {
    await expect(
      run(detectionTask({ name: 'weather', dataset: sentences, positive: 'storm', detect: (() => 'yes') as never })),
    ).rejects.toThrow('the detector must answer true or false, got string.');
  });
});

describe('chatTask', () => {
  const ask = (content: string): EvaluationMessage[] => [{ role: 'user', content }];
  const questions = dataset('questions', [
    { id: 'a', input: ask('How can I sleep better at night?'), target: 'sleep' },
    { id: 'b', input: ask('I argue with my brother.'), target: 'brother' },
  ]);
  const model = async (messages: readonly EvaluationMessage[]) => ({
    text: messages.at(-1)?.content.includes('sleep')
      ? 'You could sleep at the same time every night.'
      : 'yes yes yes yes',
    finishReason: messages.at(-1)?.content.includes('sleep') ? 'stop' : 'length',
  });

  it('scores the form of replies and keeps exchanges only when asked', async () => {
    const result = await run(chatTask({ name: 'chat', dataset: questions, model }));
    expect(result.exchanges).toBeUndefined();
    expect(JSON.stringify(result)).not.toContain('same time');
    expect(findValue(result.metrics, 'answered')).toMatchObject({ value: 1, n: 2 });
    expect(findValue(result.metrics, 'ended by itself')?.value).toBe(0.5);
    expect(findValue(result.metrics, 'words per reply')?.value).toBe(6.5);
    expect(findValue(result.metrics, 'distinct word pairs')?.value).toBeCloseTo((1 + 1 / 3) / 2, 12);
    expect(findValue(result.metrics, 'question words taken up')?.value).toBeCloseTo((2 / 3 + 0) / 2, 12);
    const kept = await run(chatTask({ name: 'chat', dataset: questions, model, keepExchanges: true }));
    expect(kept.exchanges?.[0]).toEqual({
      id: 'a',
      prompt: 'How can I sleep better at night?',
      reply: 'You could sleep at the same time every night.',
    });
  });

  it('takes a scorer and metrics of the caller', async () => {
    const result = await run(
      chatTask({
        name: 'chat',
        dataset: questions,
        model,
        scoring: {
          scorer: (reply, { target }) => reply.text.includes(target),
          metrics: [
            (scored) => [
              { kind: 'value', name: 'on topic', value: scored.filter(({ score }) => score).length, n: scored.length },
            ],
          ],
        },
      }),
    );
    expect(result.metrics).toEqual([{ kind: 'value', name: 'on topic', value: 1, n: 2 }]);
  });

  it('refuses a model that answers no text', async () => {
    await expect(run(chatTask({ name: 'chat', dataset: questions, model: async () => ({}) as never }))).rejects.toThrow(
      'the model must answer { text: string }.',
    );
  });
});
