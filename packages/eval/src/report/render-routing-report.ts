import { type LayerRouting, layerNumber, type RoutingReport } from '../routing-report.js';
import { renderHeatTable } from './heat-table.js';
import { renderPlot } from './line-chart.js';
import { expertColours, renderPassages, routedTextStyle } from './routed-text.js';
import { style } from './style.js';
import { escapeHtml, formatPercent } from './text.js';

/** Lines can be told apart up to here; more experts are drawn as a strip each. */
const MOST_LINES = 6;

/** Points along the time axis; more rows are averaged into as many stretches. */
const MOST_STRETCHES = 48;

/** One HTML page on who went where; it loads nothing, runs no script and follows the reader's colour scheme. */
export function renderRoutingReport(report: RoutingReport): string {
  const { title, facts, experts } = report;
  const entries = Object.entries(facts).map(
    ([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value))}</dd></div>`,
  );
  const sections = [renderLayers(report), renderDomains(report), renderTime(report), renderPassages(report)];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${escapeHtml(title)}</title><style>${style}${routedTextStyle}${expertColours(experts.length)}</style></head>
<body><main><header><h1>${escapeHtml(title)}</h1><p>Which experts the tokens of a text visit, layer by layer. Domains are assigned by the source of a row, so this may show style as much as subject.</p><dl>${entries.join('')}</dl></header>${sections.join('')}
<footer>Load is the share of all choices; each token makes ${report.numExpertsPerTok} per layer. Entropies in nats.</footer></main></body></html>
`;
}

function renderLayers(report: RoutingReport): string {
  const { layers, experts, numExpertsPerTok } = report;
  const [most, mostTopK] = [Math.log(experts.length), Math.log(numExpertsPerTok)].map((nats) => nats.toFixed(3));
  const rows = layers.map((layer, i) => {
    const cells = [layer.meanTokenEntropy, layer.entropyOfMean, layer.meanTopKEntropy].map(
      (nats) => `<td class="number">${nats.toFixed(3)}</td>`,
    );
    return `<tr><th scope="row">layer ${layerNumber(report, i)}</th>${cells.join('')}<td class="number">${formatPercent(Math.min(...layer.load))} to ${formatPercent(Math.max(...layer.load))}</td><td>${deadNames(layer, experts)}</td></tr>`;
  });
  const head = (name: string, hint: string) =>
    `<th scope="col" class="number">${name}<span class="hint">${hint}</span></th>`;
  return `<section><h2>Layers</h2><p>Low entropy per token: the router is decided. High entropy of the mean: the experts share the work. Both at once is what a mixture is for.</p>
<div class="scroll"><table class="values entropies"><thead><tr><th scope="col"><span class="unseen">Layer</span></th>${head('mean token entropy', `of at most ${most}`)}${head('entropy of the mean', `of at most ${most}`)}${head('mean top-k entropy', `of at most ${mostTopK}`)}${head('load', 'least to most')}<th scope="col">dead experts</th></tr></thead><tbody>${rows.join('')}</tbody></table></div></section>`;
}

function deadNames({ deadExperts }: LayerRouting, experts: readonly string[]): string {
  if (deadExperts.length === 0) return '<span class="hint">none</span>';
  const names = escapeHtml(deadExperts.map((expert) => experts[expert] ?? String(expert)).join(', '));
  return `<b>${deadExperts.length}</b> <span class="hint">${names}</span>`;
}

function renderDomains(report: RoutingReport): string {
  const { layers, domains, experts } = report;
  const rows = domains.map(({ name, tokens }) => ({ name, hint: `${tokens.toLocaleString('en-US')} tokens` }));
  const tables = layers.map((layer, i) =>
    renderHeatTable({
      caption: `Layer ${layerNumber(report, i)}: share of choices`,
      rowLabel: 'domain',
      rows,
      columns: experts,
      values: layer.loadByDomain,
    }),
  );
  return `<section><h2>Domain by expert</h2><p>Each row sums to 100 %. Rows that look alike mean that the experts do not tell these domains apart.</p>${tables.join('')}</section>`;
}

function renderTime({ overTime, experts }: RoutingReport): string {
  const stretches = intoStretches(overTime);
  const about = `<section><h2>Load over time</h2><p>Share of choices along the rows of the input, over all layers${stretches.length < overTime.length ? `; ${overTime.length.toLocaleString('en-US')} rows in ${stretches.length} stretches` : ''}.</p>`;
  if (experts.length <= MOST_LINES) {
    const series = experts.map((name, e) => ({
      name,
      points: stretches.map(({ row, shares }) => [row, shares[e] ?? 0] as const),
    }));
    return `${about}${renderPlot({ title: 'Share of choices by input row', xLabel: 'input row', yLabel: 'share', series })}</section>`;
  }
  const strip = renderHeatTable({
    caption: 'Share of choices by input row, from left to right',
    rowLabel: 'expert',
    rows: experts.map((name) => ({ name, hint: '' })),
    columns: stretches.map(({ row }) => `row ${row}`),
    values: experts.map((_, e) => stretches.map(({ shares }) => shares[e] ?? 0)),
  });
  return `${about}<div class="strip">${strip}</div></section>`;
}

/** Neighbouring rows averaged by their tokens, so that a long input can be drawn; each stretch named by its first row. */
function intoStretches(rows: RoutingReport['overTime']): { row: number; shares: number[] }[] {
  const count = Math.min(rows.length, MOST_STRETCHES);
  return Array.from({ length: count }, (_, i) => {
    const first = Math.floor((i * rows.length) / count);
    const members = rows.slice(first, Math.floor(((i + 1) * rows.length) / count));
    const tokens = members.reduce((sum, row) => sum + row.tokens, 0);
    const shares = members[0]!.shares.map((_, e) =>
      members.reduce((sum, row) => sum + (row.shares[e]! * row.tokens) / tokens, 0),
    );
    return { row: first + 1, shares };
  });
}
