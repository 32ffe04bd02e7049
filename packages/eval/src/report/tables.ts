import type { ConfusionResult, TableResult } from '../results.js';
import { escapeHtml, formatPercent } from './text.js';

/** Counts of a detector, rows by truth, columns by answer. */
export function renderConfusion(result: ConfusionResult): string {
  const { truePositives, falseNegatives, falsePositives, trueNegatives } = result;
  const positive = escapeHtml(result.positive);
  const cell = (count: number, right: boolean, label: string) =>
    `<td class="${right ? 'right' : 'wrong'}"><b>${count}</b><span class="hint">${label}</span></td>`;
  return `<figure><figcaption>${escapeHtml(result.name)}${result.group === undefined ? '' : `, ${escapeHtml(result.group)}`} <span class="hint">n = ${result.n}</span></figcaption>
<table class="confusion"><thead><tr><td></td><th>found ${positive}</th><th>found nothing</th></tr></thead><tbody>
<tr><th scope="row">is ${positive}</th>${cell(truePositives, true, 'caught')}${cell(falseNegatives, false, 'missed')}</tr>
<tr><th scope="row">is not</th>${cell(falsePositives, false, 'false alarms')}${cell(trueNegatives, true, 'let through')}</tr></tbody></table></figure>`;
}

const STRONGEST_TINT = 72; // per cent of the accent; text stays readable on it in both colour schemes

/** Shares by row and column; the stronger the tint, the larger the share. */
export function renderTable(result: TableResult): string {
  const largest = Math.max(...result.values.flat(), Number.MIN_VALUE);
  const head = result.columns.map((column) => `<th>${escapeHtml(column)}</th>`).join('');
  const body = result.rows.map((row, index) => {
    const cells = result.columns.map((_, column) => renderCell(result, index, column, largest)).join('');
    return `<tr><th scope="row">${escapeHtml(row)}<span class="hint">n = ${result.n[index]}</span></th>${cells}</tr>`;
  });
  return `<figure><figcaption>${escapeHtml(result.name)} <span class="hint">rows: ${escapeHtml(result.rowLabel)}; 95 % interval in small</span></figcaption>
<div class="scroll"><table class="heat"><thead><tr><td></td>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div></figure>`;
}

function renderCell(result: TableResult, row: number, column: number, largest: number): string {
  const value = result.values[row]?.[column] ?? 0;
  const interval = result.intervals[row]?.[column];
  const tint = Math.round((Math.max(0, value) / largest) * STRONGEST_TINT);
  const range = interval ? `${(100 * interval.low).toFixed(0)} to ${(100 * interval.high).toFixed(0)}` : 'n = 1';
  return `<td style="--tint:${tint}%"><b>${formatPercent(value)}</b><span class="hint">${range}</span></td>`;
}
