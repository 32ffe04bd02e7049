const WIDTH = 860;
const HEIGHT = 360;
const TOP = 62;
const BOTTOM = HEIGHT - 52;
/** Left and right edge of the two panels. */
const PANELS = [
  [56, 432],
  [470, 846],
];

/** Of a lightness that stands out from white and from black alike. */
const COLOURS = ['#d4622a', '#2f7fd1', '#1c9a6b', '#a45bc4', '#a07d1c', '#7a7a7a'];

/**
 * Bits per byte by position as an SVG of two panels, before and after tuning, with 95 % bands; readable on light and dark
 * pages.
 *
 * @param {{ name: string, curves: object[] }} set of the results.
 * @param {{ trained: number, length: number, bucket: number, steps: number }} results
 * @param {Record<string, string>} names of the variants, for the legend, in the order of colours.
 * @returns {string}
 */
export function drawCurves(set, { trained, length, bucket, steps }, names) {
  const y = scaleOf(set.curves);
  const titles = { plain: 'as trained', tuned: `after ${steps} steps at ${length} tokens` };
  const panels = Object.entries(titles).map(([state, title], i) => {
    const [left, right] = PANELS[i];
    const x = (position) => left + (position / length) * (right - left);
    const curves = set.curves.filter((curve) => curve.state === state);
    return [
      `<text x="${(left + right) / 2}" y="${TOP - 10}" text-anchor="middle" font-weight="600">${title}</text>`,
      ...y.ticks.map((tick) => horizontal(tick, y, left, right)),
      ...positionTicks(length).map((at) => `<text x="${x(at)}" y="${BOTTOM + 18}" text-anchor="middle">${at}</text>`),
      `<path d="M${x(trained)} ${TOP}V${BOTTOM}" stroke="#888" stroke-dasharray="4 3"/>`,
      `<text x="${x(trained) + 5}" y="${TOP + 12}" font-size="11">trained to ${trained}</text>`,
      ...curves.map((curve) => drawCurve(curve, colourOf(curve, names), (at) => x((at + 0.5) * bucket), y.of)),
      `<text x="${(left + right) / 2}" y="${HEIGHT - 12}" text-anchor="middle">position in the window, tokens</text>`,
    ];
  });
  const title = `Bits per byte by position, ${set.name}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#808080" role="img" aria-label="${title}">
<title>${title}</title>
<text x="14" y="${(TOP + BOTTOM) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(TOP + BOTTOM) / 2})">bits per byte</text>
${[...drawLegend(names), ...panels.flat()].join('\n')}
</svg>
`;
}

const colourOf = ({ variant }, names) => COLOURS[Object.keys(names).indexOf(variant)];

/** A scale over all values and their intervals, with round ticks. */
function scaleOf(curves) {
  const values = curves.flatMap(({ buckets }) => buckets.flatMap(({ low, high }) => [low, high]));
  const span = Math.max(...values) - Math.min(...values);
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((each) => span / each <= 8) ?? 10;
  const [low, high] = [Math.floor(Math.min(...values) / step), Math.ceil(Math.max(...values) / step)];
  return {
    of: (value) => BOTTOM - ((value / step - low) / (high - low)) * (BOTTOM - TOP),
    ticks: Array.from({ length: high - low + 1 }, (_, i) => Number(((low + i) * step).toFixed(2))),
  };
}

function horizontal(tick, y, left, right) {
  const at = y.of(tick).toFixed(1);
  return `<path d="M${left} ${at}H${right}" stroke="#8885"/><text x="${left - 6}" y="${Number(at) + 4}" text-anchor="end">${tick}</text>`;
}

const positionTicks = (length) => [0, 1, 2, 3, 4].map((quarter) => (quarter * length) / 4);

function drawCurve({ buckets }, colour, x, y) {
  const points = (key) => buckets.map((bucket, at) => `${x(at).toFixed(1)},${y(bucket[key]).toFixed(1)}`);
  const band = [...points('high'), ...points('low').reverse()].join(' ');
  return `<polygon points="${band}" fill="${colour}" fill-opacity="0.13"/><polyline points="${points('value').join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`;
}

function drawLegend(names) {
  const width = (WIDTH - PANELS[0][0]) / Object.keys(names).length;
  return Object.entries(names).map(([, name], i) => {
    const x = PANELS[0][0] + i * width;
    return `<path d="M${x} 20h22" stroke="${COLOURS[i]}" stroke-width="3"/><text x="${x + 28}" y="24">${name}</text>`;
  });
}
