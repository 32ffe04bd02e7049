const WIDTH = 760;
const HEIGHT = 320;
const MARGIN = { left: 56, right: 16, top: 28, bottom: 44 };

/** Mean over a sliding window, one point per `stride` steps: a loss of single batches is too noisy to read. */
export function smooth(points, window = 20, stride = 5) {
  const smoothed = [];
  for (let i = 0; i < points.length; i += stride) {
    const part = points.slice(Math.max(0, i - window + 1), i + 1);
    smoothed.push([points[i][0], part.reduce((sum, [, y]) => sum + y, 0) / part.length]);
  }
  return smoothed;
}

/** An SVG of curves over training steps; readable on light and dark pages. */
export function lossCurve({ title, yLabel, series }) {
  const all = series.flatMap(({ points }) => points);
  const xMax = Math.max(...all.map(([x]) => x));
  const yMin = Math.floor(Math.min(...all.map(([, y]) => y)) * 2) / 2;
  const yMax = Math.ceil(Math.max(...all.map(([, y]) => y)) * 2) / 2;
  const x = (value) => MARGIN.left + (value / xMax) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value) =>
    HEIGHT - MARGIN.bottom - ((value - yMin) / (yMax - yMin)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const grid = [];
  for (let value = yMin; value <= yMax + 1e-9; value += (yMax - yMin) / 5) {
    grid.push(
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(value)}" y2="${y(value)}" stroke="#8886"/>`,
    );
    grid.push(`<text x="${MARGIN.left - 8}" y="${y(value) + 4}" text-anchor="end">${value.toFixed(1)}</text>`);
  }
  for (let step = 0; step <= 4; step++) {
    const value = Math.round((xMax * step) / 4);
    grid.push(`<text x="${x(value)}" y="${HEIGHT - MARGIN.bottom + 20}" text-anchor="middle">${value}</text>`);
  }
  const curves = series.map(({ points, colour, dots }) => {
    const path = points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(' ');
    const marks = dots
      ? points
          .map(([a, b]) => `<circle cx="${x(a).toFixed(1)}" cy="${y(b).toFixed(1)}" r="3.5" fill="${colour}"/>`)
          .join('')
      : '';
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>${marks}`;
  });
  const legend = series.map(
    ({ name, colour }, i) =>
      `<rect x="${WIDTH - 190}" y="${MARGIN.top + 6 + i * 20}" width="12" height="12" fill="${colour}"/>` +
      `<text x="${WIDTH - 172}" y="${MARGIN.top + 16 + i * 20}">${name}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="13" fill="#888" role="img" aria-label="${title}">
<title>${title}</title>
<text x="${MARGIN.left}" y="18" font-size="15" font-weight="600">${title}</text>
${[...grid, ...curves, ...legend].join('\n')}
<text x="${WIDTH / 2}" y="${HEIGHT - 6}" text-anchor="middle">step</text>
<text x="14" y="${HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">${yLabel}</text>
</svg>
`;
}
