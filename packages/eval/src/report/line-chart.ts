import type { Plot } from '../results.js';
import { ticks } from './scale.js';
import { escapeHtml, formatNumber } from './text.js';

const WIDTH = 860;
const HEIGHT = 280;
const MARGIN = { left: 58, right: 14, top: 12, bottom: 40 };

interface Range {
  readonly low: number;
  readonly high: number;
}

/** Lines over a shared pair of axes, with a legend when there is more than one. Points that are not finite are left out. */
export function renderPlot(plot: Plot): string {
  const series = plot.series.map(({ name, points }) => ({
    name,
    points: points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)),
  }));
  const all = series.flatMap(({ points }) => points);
  const caption = `<figcaption>${escapeHtml(plot.title)}</figcaption>`;
  if (all.length === 0) return `<figure>${caption}<p class="hint">no points</p></figure>`;
  const xRange = rangeOf(all.map(([x]) => x));
  const yRange = rangeOf(all.map(([, y]) => y));
  const x = (at: number) =>
    MARGIN.left + ((at - xRange.low) / (xRange.high - xRange.low)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (at: number) =>
    HEIGHT - MARGIN.bottom - ((at - yRange.low) / (yRange.high - yRange.low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const lines = series.map(({ points }, index) =>
    renderLine(
      points.map(([px, py]) => [x(px), y(py)]),
      index,
    ),
  );
  const legend =
    series.length < 2
      ? ''
      : `<p class="legend">${series.map(({ name }, index) => `<span class="s${index % 6}">${escapeHtml(name)}</span>`).join('')}</p>`;
  return `<figure>${caption}${legend}<div class="scroll"><svg class="lines" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(plot.title)}">${renderAxes(plot, xRange, yRange, x, y)}${lines.join('')}</svg></div></figure>`;
}

function renderLine(points: readonly (readonly number[])[], index: number): string {
  if (points.length === 1)
    return `<circle class="s${index % 6}" cx="${points[0]?.[0]?.toFixed(1)}" cy="${points[0]?.[1]?.toFixed(1)}" r="3"/>`;
  return `<polyline class="s${index % 6}" points="${points.map((point) => point.map((at) => at.toFixed(1)).join(',')).join(' ')}"/>`;
}

function renderAxes(
  plot: Plot,
  xRange: Range,
  yRange: Range,
  x: (at: number) => number,
  y: (at: number) => number,
): string {
  const right = WIDTH - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const horizontal = ticks(yRange.low, yRange.high, 5).map(
    (tick) =>
      `<path class="grid" d="M${MARGIN.left} ${y(tick).toFixed(1)}H${right}"/><text x="${MARGIN.left - 8}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${formatNumber(tick)}</text>`,
  );
  const vertical = ticks(xRange.low, xRange.high, 8).map(
    (tick) => `<text x="${x(tick).toFixed(1)}" y="${bottom + 16}" text-anchor="middle">${formatNumber(tick)}</text>`,
  );
  const labels = `<text class="label" x="${(MARGIN.left + right) / 2}" y="${HEIGHT - 5}" text-anchor="middle">${escapeHtml(plot.xLabel)}</text><text class="label" transform="translate(12 ${(MARGIN.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(plot.yLabel)}</text>`;
  return `${horizontal.join('')}${vertical.join('')}<path class="axis" d="M${MARGIN.left} ${bottom}H${right}"/>${labels}`;
}

/** Smallest and largest value, a little apart when they are equal. A loop: training curves can be longer than an argument list. */
function rangeOf(values: readonly number[]): Range {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low === high ? { low: low - 0.5, high: high + 0.5 } : { low, high };
}
