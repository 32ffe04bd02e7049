import type { EvaluationResults, Exchange, TaskResult, ValueResult } from '../results.js';
import { renderPlot } from './line-chart.js';
import { style } from './style.js';
import { renderConfusion, renderTable } from './tables.js';
import { escapeHtml } from './text.js';
import { renderValues } from './value-bars.js';

/** One HTML page that shows results; it loads nothing, runs no script and follows the reader's colour scheme. */
export function renderReport(results: EvaluationResults): string {
  const { title, tasks, plots } = results;
  const curves = plots.length === 0 ? '' : `<section><h2>Curves</h2>${plots.map(renderPlot).join('')}</section>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${escapeHtml(title)}</title><style>${style}</style></head>
<body><main>${renderHeader(results)}${tasks.map(renderTask).join('')}${curves}
<footer>Whiskers and ranges are 95 % intervals: Wilson's for proportions, a seeded percentile bootstrap over samples for the rest. Perplexity is exp(mean nats per token).</footer></main></body></html>
`;
}

function renderHeader({ title, date, seed, environment, tasks }: EvaluationResults): string {
  const facts = { date, seed, tasks: tasks.length, ...environment };
  const list = Object.entries(facts).map(
    ([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value))}</dd></div>`,
  );
  return `<header><h1>${escapeHtml(title)}</h1><p>Every score with its number of samples and a 95 % interval.</p><dl>${list.join('')}</dl></header>`;
}

function renderTask(result: TaskResult): string {
  const values = result.metrics.filter((metric): metric is ValueResult => metric.kind === 'value');
  const figures = result.metrics.map((metric) =>
    metric.kind === 'confusion' ? renderConfusion(metric) : metric.kind === 'table' ? renderTable(metric) : '',
  );
  const about = `${escapeHtml(result.dataset.name)}, ${result.dataset.size.toLocaleString('en-US')} ${result.dataset.size === 1 ? 'sample' : 'samples'}, ${formatDuration(result.durationMs)}`;
  const description = result.description === undefined ? '' : `${escapeHtml(result.description)}<br>`;
  return `<section><h2>${escapeHtml(result.name)}</h2><p>${description}<span class="hint">${about}</span></p>${renderValues(values)}${figures.join('')}${renderExchanges(result.exchanges ?? [])}</section>`;
}

function renderExchanges(exchanges: readonly Exchange[]): string {
  if (exchanges.length === 0) return '';
  const items = exchanges.map(
    ({ prompt, reply }) => `<div class="exchange"><p>${escapeHtml(prompt)}</p><p>${escapeHtml(reply)}</p></div>`,
  );
  return `<details open><summary>${exchanges.length} unedited ${exchanges.length === 1 ? 'exchange' : 'exchanges'}</summary>${items.join('')}</details>`;
}

function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${milliseconds} ms`;
  const seconds = milliseconds / 1000;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} min`;
}
