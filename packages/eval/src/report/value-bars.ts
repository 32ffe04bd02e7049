import type { ValueResult } from '../results.js';
import { niceCeiling } from './scale.js';
import { escapeHtml, formatNumber, formatPercent } from './text.js';

const WIDTH = 320;
const HEIGHT = 22;

/** Values as rows: name, number, interval and a bar with a whisker. Values of one name share a scale. */
export function renderValues(values: readonly ValueResult[]): string {
  if (values.length === 0) return '';
  const rows = values.map((value) => renderRow(value, scaleOf(value, values))).join('');
  return `<table class="values"><thead><tr><th>Score</th><th class="number">Value</th><th class="number">95 % interval</th><th class="number">n</th><th class="plot">&#160;</th></tr></thead><tbody>${rows}</tbody></table>`;
}

/** A value without a unit that lies in [0, 1] is read as a share. */
const isShare = ({ unit, value }: ValueResult): boolean => unit === undefined && value >= 0 && value <= 1;

function scaleOf(value: ValueResult, all: readonly ValueResult[]): number {
  const alike = all.filter(({ name }) => name === value.name);
  if (alike.every(isShare)) return 1;
  return niceCeiling(Math.max(...alike.map((each) => each.interval?.high ?? each.value)));
}

function renderRow(result: ValueResult, maximum: number): string {
  const format = isShare(result) ? formatPercent : formatNumber;
  const { interval, unit, better, group } = result;
  const range = interval ? `${format(interval.low)} to ${format(interval.high)}` : 'n = 1';
  const direction = better ? `<span class="hint">${better} is better</span>` : '';
  return `<tr${group === undefined ? '' : ' class="part"'}>
<th scope="row">${group === undefined ? escapeHtml(result.name) : `${escapeHtml(group)} <span class="hint">${escapeHtml(result.name)}</span>`} ${group === undefined ? direction : ''}</th>
<td class="number strong">${format(result.value)}${unit === undefined ? '' : ` <span class="hint">${escapeHtml(unit)}</span>`}</td>
<td class="number"${interval ? ` title="${interval.method}"` : ''}>${range}</td>
<td class="number">${result.n.toLocaleString('en-US')}</td>
<td class="plot">${renderBar(result, maximum, format)}</td></tr>`;
}

function renderBar({ name, value, interval }: ValueResult, maximum: number, format: (value: number) => string): string {
  const x = (at: number) => (maximum === 0 ? 0 : (Math.max(0, Math.min(maximum, at)) / maximum) * WIDTH).toFixed(1);
  const middle = HEIGHT / 2;
  const whisker = interval
    ? `<path class="whisker" d="M${x(interval.low)} ${middle}H${x(interval.high)}M${x(interval.low)} ${middle - 5}v10M${x(interval.high)} ${middle - 5}v10"/>`
    : '';
  return `<svg class="bar" viewBox="-2 0 ${WIDTH + 4} ${HEIGHT}" role="img" aria-label="${escapeHtml(name)} ${format(value)} on a scale from 0 to ${format(maximum)}"><rect class="track" x="0" y="6" width="${WIDTH}" height="10" rx="3"/><rect class="fill" x="0" y="6" width="${x(value)}" height="10" rx="3"/>${whisker}</svg>`;
}
