const WIDTH = 860;
const HEIGHT = 360;
const TOP = 62;
const BOTTOM = HEIGHT - 52;
/** Left and right edge of the two panels. */
const PANELS = [
  [56, 428],
  [466, 838],
];

/** Of a lightness that stands out from white and from black alike. */
const COLOURS = ['#d4622a', '#2f7fd1', '#1c9a6b', '#a45bc4', '#a07d1c', '#7a7a7a'];

/**
 * Bits per byte by position as an SVG of two panels, before and after tuning; readable on light and dark pages. The bands
 * are 95 % intervals of the difference to the reference, the model as it is at the last position it was trained on.
 *
 * @param {{ name: string, curves: object[] }} set of the results.
 * @param {{ trained: number, length: number, block: number, steps: number }} settings
 * @param {Record<string, string>} names of the variants, for the legend, in the order of colours.
 * @returns {string}
 */
export function drawCurves(set, { trained, length, block, steps }, names) {
  const curves = set.curves.map((curve) => ({ ...curve, points: pointsOf(curve, set.curves[0].within.value) }));
  const y = scaleOf(curves);
  const titles = { plain: 'as trained', tuned: `after ${steps} steps at ${length} tokens` };
  const panels = Object.entries(titles).map(([state, title], i) => {
    const [left, right] = PANELS[i];
    const x = (position) => left + (position / length) * (right - left);
    const own = curves.filter((curve) => curve.state === state);
    return [
      text((left + right) / 2, TOP - 10, title, 'text-anchor="middle" font-weight="600"'),
      ...y.ticks.map((tick) => horizontal(tick, y, left, right)),
      ...quartersOf(length).map((at) => text(x(at), BOTTOM + 18, at, 'text-anchor="middle"')),
      `<path d="M${x(trained)} ${TOP}V${BOTTOM}" stroke="#888" stroke-dasharray="4 3"/>`,
      text(x(trained) + 5, TOP + 12, `trained to ${trained}`, 'font-size="11"'),
      ...own.map((curve) => drawCurve(curve.points, colourOf(curve, names), (at) => x((at + 0.5) * block), y.of)),
      text((left + right) / 2, HEIGHT - 12, 'position in the window, tokens', 'text-anchor="middle"'),
    ];
  });
  const title = `Bits per byte by position, ${set.name}`;
  const middle = (TOP + BOTTOM) / 2;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#777" role="img" aria-label="${title}">
<title>${title}</title>
${text(14, middle, 'bits per byte', `text-anchor="middle" transform="rotate(-90 14 ${middle})"`)}
${[...drawLegend(names), ...panels.flat()].join('\n')}
</svg>
`;
}

const text = (x, y, content, attributes) => `<text x="${x}" y="${y}" ${attributes}>${content}</text>`;

/** The values of a curve and the bands around them. */
function pointsOf({ positions }, reference) {
  return positions.map(({ value, againstReference }) => ({
    value,
    low: reference + againstReference.low,
    high: reference + againstReference.high,
  }));
}

const colourOf = ({ variant }, names) => COLOURS[Object.keys(names).indexOf(variant)];

/** A scale over all values and their intervals, with round ticks. */
function scaleOf(curves) {
  const values = curves.flatMap(({ points }) => points.flatMap(({ low, high }) => [low, high]));
  const span = Math.max(...values) - Math.min(...values);
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((each) => span / each <= 8) ?? 10;
  const [low, high] = [Math.floor(Math.min(...values) / step), Math.ceil(Math.max(...values) / step)];
  return {
    of: (value) => Number((BOTTOM - ((value / step - low) / (high - low)) * (BOTTOM - TOP)).toFixed(1)),
    ticks: Array.from({ length: high - low + 1 }, (_, i) => Number(((low + i) * step).toFixed(2))),
  };
}

function horizontal(tick, y, left, right) {
  const at = y.of(tick);
  return `<path d="M${left} ${at}H${right}" stroke="#8885"/>${text(left - 6, at + 4, tick, 'text-anchor="end"')}`;
}

const quartersOf = (length) => [0, 1, 2, 3, 4].map((quarter) => (quarter * length) / 4);

function drawCurve(points, colour, x, y) {
  const path = (key) => points.map((point, at) => `${x(at).toFixed(1)},${y(point[key])}`);
  const band = [...path('high'), ...path('low').reverse()].join(' ');
  return `<polygon points="${band}" fill="${colour}" fill-opacity="0.13"/><polyline points="${path('value').join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`;
}

function drawLegend(names) {
  const [[left]] = PANELS;
  const width = (WIDTH - left) / Object.keys(names).length;
  return Object.values(names).map((name, i) => {
    const x = left + i * width;
    return `<path d="M${x} 20h22" stroke="${COLOURS[i]}" stroke-width="3"/>${text(x + 28, 24, name, '')}`;
  });
}
