import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type EvaluationResults, parseResults } from '../results.js';
import { writeResults } from '../write-results.js';
import { renderReport } from './render-report.js';
import { niceCeiling, ticks } from './scale.js';
import { formatNumber, formatPercent } from './text.js';

const interval = { low: 0.61, high: 0.93, level: 0.95, method: 'wilson' } as const;
const results: EvaluationResults = {
  schema: 'therapeutic-moe/evaluation',
  schemaVersion: 1,
  title: 'Trial <script>alert(1)</script>',
  date: '2026-11-22',
  seed: 7,
  environment: { model: 'demo & co' },
  tasks: [
    {
      name: 'detection',
      description: 'Finds "storms".',
      dataset: { name: 'sentences', size: 26 },
      durationMs: 1234,
      metrics: [
        { kind: 'value', name: 'sensitivity', value: 0.8125, n: 16, interval, better: 'higher' },
        {
          kind: 'value',
          name: 'bits per byte',
          value: 1.734,
          n: 26,
          interval: { ...interval, low: 1.6, high: 1.9, method: 'bootstrap' },
          unit: 'bits/byte',
        },
        {
          kind: 'confusion',
          name: 'confusion matrix',
          positive: 'storm',
          truePositives: 13,
          falseNegatives: 3,
          falsePositives: 2,
          trueNegatives: 8,
          n: 26,
        },
        {
          kind: 'table',
          name: 'mean share',
          rowLabel: 'domain',
          rows: ['x'],
          columns: ['e1', 'e2'],
          values: [[0.25, 0.75]],
          intervals: [[interval, null]],
          n: [4],
        },
      ],
      samples: [],
      exchanges: [{ id: 'a', prompt: 'Is 1 < 2?', reply: '<b>yes</b>' }],
    },
  ],
  plots: [
    {
      title: 'loss',
      xLabel: 'step',
      yLabel: 'nats',
      series: [
        {
          name: 'train',
          points: [
            [0, 8],
            [10, 4],
            [20, Number.NaN],
            [30, 2],
          ],
        },
        { name: 'held out', points: [[0, 8.1]] },
      ],
    },
    { title: 'nothing', xLabel: 'x', yLabel: 'y', series: [] },
  ],
};

describe('renderReport', () => {
  const html = renderReport(results);

  it('shows every number with its interval and n', () => {
    for (const text of [
      '81.3 %',
      '61.0 % to 93.0 %',
      '1.73',
      '1.6 to 1.9',
      'bits/byte',
      '>13<',
      '>3<',
      '75.0 %',
      'n = 4',
      '2026-11-22',
      'demo &#38; co',
      '1.2 s',
    ])
      expect(html).toContain(text);
  });

  it('escapes all text and runs no script', () => {
    expect(html).not.toContain('<script');
    expect(html).not.toContain('<b>yes</b>');
    expect(html).toContain('&#60;b&#62;yes&#60;/b&#62;');
  });

  it('loads nothing from elsewhere', () => {
    expect(html).not.toMatch(/https?:\/\/|src=|href=|@import|url\(/);
  });

  it('draws no coordinate that is not a number', () => {
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    expect(html).toContain('no points');
    expect(html.match(/<polyline/g)).toHaveLength(1);
    expect(html.match(/<circle/g)).toHaveLength(1);
  });
});

describe('writeResults', () => {
  it('writes both files, replaces old ones and leaves nothing else behind', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'eval-'));
    const inside = join(folder, 'deep', 'down');
    await writeResults(inside, results);
    const paths = await writeResults(inside, { ...results, title: 'Second' });
    expect((await readdir(inside)).sort()).toEqual(['report.html', 'results.json']);
    expect(parseResults(await readFile(paths.results, 'utf8')).title).toBe('Second');
    expect(await readFile(paths.report, 'utf8')).toContain('<title>Second</title>');
    await rm(folder, { recursive: true });
  });
});

describe('scales and numbers', () => {
  it('rounds up to 1, 2, 2.5, 5', () => {
    expect([0.013, 1, 1.7, 2.2, 4.1, 60, 0].map(niceCeiling)).toEqual([0.02, 1, 2, 2.5, 5, 100, 1]);
  });

  it('places ticks inside the range on round numbers', () => {
    expect(ticks(0.13, 0.97, 4)).toEqual([0.25, 0.5, 0.75]);
    expect(ticks(-3, 12, 3)).toEqual([0, 5, 10]);
  });

  it('formats with three digits', () => {
    expect([0, 1.2345, 123.456, 12345.6, 0.00001, 0.01234].map(formatNumber)).toEqual([
      '0',
      '1.23',
      '123.5',
      '12,346',
      '1.00e-5',
      '0.0123',
    ]);
    expect(formatPercent(0.97916)).toBe('97.9 %');
  });
});
