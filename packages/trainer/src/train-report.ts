import type { EvaluationResult } from './evaluate.js';
import type { StepRecord } from './train-log.js';

/** One line of `evaluations.jsonl`. */
export interface EvaluationRecord extends EvaluationResult {
  readonly step: number;
  /** Name of the set; `all` is all of them together. */
  readonly set: string;
}

/** What a training report shows. */
export interface TrainReport {
  readonly title: string;
  /** Rows of the table at the top, such as seed, backend and wall time. */
  readonly facts: Readonly<Record<string, string>>;
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  /** Name of each expert, where it has one. */
  readonly expertNames?: readonly string[];
}

interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Drawn with dots. */
  readonly dots?: boolean;
}

const size = { width: 720, height: 260, left: 56, right: 12, top: 12, bottom: 30 };
const colours = ['#2f6fab', '#c2562d', '#3f8f5f', '#8a5fb0', '#a08a1c', '#7a7a7a'];

/** A self-contained page with the curves of a run: no script, nothing fetched. */
export function renderTrainReport({ title, facts, steps, evaluations, expertNames = [] }: TrainReport): string {
  const curve = (name: string, of: (record: StepRecord) => number | null): Series => ({
    name,
    points: steps.flatMap((record) => {
      const y = of(record);
      return y === null || !Number.isFinite(y) ? [] : [[record.step, y] as const];
    }),
  });
  const experts = steps.find((record) => record.expertLoad)?.expertLoad?.length ?? 0;
  const sets = [...new Set(evaluations.map(({ set }) => set))];
  const held = (of: (record: EvaluationRecord) => number) =>
    sets.map(
      (set): Series => ({
        name: set,
        dots: true,
        points: evaluations.filter((record) => record.set === set).map((record) => [record.step, of(record)]),
      }),
    );
  const charts = [
    chart('Cross-entropy, nats per token', [
      smooth(curve('training', (record) => record.crossEntropy)),
      ...held((record) => record.nats)
        .filter(({ name }) => name === 'all')
        .map((series) => ({ ...series, name: 'validation' })),
    ]),
    chart(
      'Validation, bits per byte',
      held((record) => record.bitsPerByte),
    ),
    chart(
      'Share of the visits per expert',
      Array.from({ length: experts }, (_, i) =>
        smooth(curve(expertNames[i] ?? `expert ${i}`, (record) => record.expertLoad?.[i] ?? null)),
      ),
    ),
    chart('Routing entropy, nats', [smooth(curve('entropy', (record) => record.routingEntropy))]),
    chart('Learning rate', [curve('rate', (record) => record.learningRate)]),
    chart('Gradient norm before clipping', [smooth(curve('norm', (record) => record.gradientNorm))]),
    chart('Tokens per second', [smooth(curve('tokens/s', (record) => record.tokensPerSecond))]),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title>
<style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem}h2{font-size:1rem;margin:2rem 0 .3rem}
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left;font-variant-numeric:tabular-nums}svg{width:100%;height:auto}svg text{font-size:11px;fill:currentColor}
.grid{stroke:currentColor;opacity:.15}.key{margin:.1rem 1rem .1rem 0;white-space:nowrap}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:2px}</style></head>
<body><h1>${escapeHtml(title)}</h1>
${table(Object.entries(facts))}
${lastEvaluation(evaluations)}
${charts.join('\n')}
</body></html>
`;
}

const escapeHtml = (text: string) =>
  text.replace(
    /[&<>"]/g,
    (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[character] as string,
  );

const table = (rows: readonly (readonly string[])[]) =>
  `<table>${rows.map((cells) => `<tr>${cells.map((cell, i) => (i === 0 ? `<th scope="row">${escapeHtml(cell)}</th>` : `<td>${escapeHtml(cell)}</td>`)).join('')}</tr>`).join('')}</table>`;

function lastEvaluation(evaluations: readonly EvaluationRecord[]): string {
  const best = evaluations.filter(({ set }) => set === 'all').sort((a, b) => a.nats - b.nats)[0];
  if (!best) return '';
  const rows = evaluations
    .filter(({ step }) => step === best.step)
    .map(({ set, nats, perplexity, bitsPerByte, tokens }) => [
      set,
      nats.toFixed(4),
      perplexity.toFixed(2),
      bitsPerByte.toFixed(4),
      String(tokens),
    ]);
  return `<h2>Best evaluation: step ${best.step}</h2>${table([['set', 'nats/token', 'perplexity', 'bits/byte', 'tokens'], ...rows])}`;
}

/** Mean over a centred window of one fiftieth of the run, so that a curve can be read. */
function smooth(series: Series): Series {
  const reach = Math.floor(series.points.length / 100);
  if (reach < 1) return series;
  const points = series.points.map(([x], i) => {
    const near = series.points.slice(Math.max(0, i - reach), i + reach + 1);
    return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length] as const;
  });
  return { ...series, points };
}

function chart(title: string, series: readonly Series[]): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return '';
  const xs = drawn.flatMap(({ points }) => points.map(([x]) => x));
  const ys = drawn.flatMap(({ points }) => points.map(([, y]) => y));
  const xScale = scale(xs, size.left, size.width - size.right);
  const yScale = scale(ys, size.height - size.bottom, size.top);
  const grid = yScale.ticks.map(
    (tick) =>
      `<line class="grid" x1="${size.left}" x2="${size.width - size.right}" y1="${yScale.at(tick)}" y2="${yScale.at(tick)}"/><text x="${size.left - 6}" y="${yScale.at(tick)}" text-anchor="end" dominant-baseline="middle">${format(tick)}</text>`,
  );
  const axis = xScale.ticks.map(
    (tick) => `<text x="${xScale.at(tick)}" y="${size.height - 8}" text-anchor="middle">${format(tick)}</text>`,
  );
  const lines = drawn.map(({ points, dots }, i) => {
    const colour = colours[i % colours.length];
    const path = points.map(([x, y]) => `${xScale.at(x)},${yScale.at(y)}`);
    const marks = dots
      ? path
          .map((point) => `<circle r="2.5" fill="${colour}" cx="${point.split(',')[0]}" cy="${point.split(',')[1]}"/>`)
          .join('')
      : '';
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${path.join(' ')}"/>${marks}`;
  });
  const keys =
    drawn.length < 2
      ? ''
      : `<div>${drawn.map(({ name }, i) => `<span class="key"><i style="background:${colours[i % colours.length]}"></i>${escapeHtml(name)}</span>`).join('')}</div>`;
  return `<h2>${escapeHtml(title)}</h2><svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeHtml(title)}, by step">${grid.join('')}${axis.join('')}${lines.join('')}</svg>${keys}`;
}

/** A linear scale with four to eight round ticks. */
function scale(values: readonly number[], from: number, to: number) {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  const span = most - least || Math.abs(most) || 1;
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const stride = ([1, 2, 5, 10].find((factor) => factor * power >= rough) as number) * power;
  const ticks: number[] = [];
  for (let tick = Math.ceil(least / stride) * stride; tick <= most + stride / 1e6; tick += stride) ticks.push(tick);
  return { ticks, at: (value: number) => Number((from + ((value - least) / span) * (to - from)).toFixed(1)) };
}

const format = (value: number) => String(Number(value.toPrecision(4)));
