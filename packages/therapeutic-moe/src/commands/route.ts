import { basename } from 'node:path';
import { defineCommand } from 'citty';
import { meanLoad, type RoutedTexts } from '../routed-texts.js';
import { routeTexts, writeRoutingReport } from '../routing-report.js';
import { loadFromOptions, modelOptions } from './model-options.js';
import { readNumber } from './numbers.js';
import { readRouteRows } from './route-rows.js';

/** Shows which experts texts visit. */
export const routeCommand = defineCommand({
  meta: { name: 'route', description: 'Show which experts texts visit, as JSON lines, a table or an HTML report.' },
  args: {
    ...modelOptions,
    input: { type: 'string', required: true, description: 'JSONL with id, text and perhaps domain', valueHint: 'FILE' },
    json: { type: 'boolean', description: 'print {"id","usage"} for each row; the shares of a row sum to 1' },
    output: { type: 'string', description: 'folder to write routing.html to', valueHint: 'FOLDER' },
    'show-text': {
      type: 'string',
      description: 'colour the text of this many first rows in the report, which then holds it',
      default: '0',
    },
  },
  async run({ args }) {
    const shown = readNumber('show-text', args['show-text'], { min: 0, max: 1000, whole: true });
    if (shown > 0 && args.output === undefined)
      throw new Error('--show-text needs --output, the folder of the report that shows it.');
    const rows = await readRouteRows(args.input);
    const model = await loadFromOptions(args);
    try {
      const names = model.expertNames;
      const progress = progressLine(rows.length);
      const routed = await routeTexts(model, rows, ({ id }, shares, done) => {
        progress(done);
        if (!args.json) return;
        console.log(JSON.stringify({ id, usage: Object.fromEntries(names.map((name, e) => [name, shares[e]])) }));
      });
      if (!args.json) console.log(renderTable(names, routed));
      if (args.output === undefined) return;
      const report = { folder: args.output, source: basename(args.input), shown: rows.slice(0, shown) };
      const written = await writeRoutingReport(model, routed, report);
      if (args.json) console.error(written);
      else console.log(written);
    } finally {
      model.dispose();
    }
  },
});

/** Mean shares of every domain, the largest first, eight at most. */
function renderTable(names: readonly string[], { domains }: RoutedTexts): string {
  const lines = domains.map(({ name: domain, rows, layers }) => {
    const shares = meanLoad(layers)
      .map((share, e) => ({ name: names[e]!, share }))
      .sort((a, b) => b.share - a.share)
      .slice(0, 8)
      .map(({ name, share }) => `${name} ${(100 * share).toFixed(1)} %`);
    return `${domain.padEnd(24)} ${String(rows).padStart(6)} rows  ${shares.join('  ')}`;
  });
  return lines.join('\n');
}

/** One line on standard error that moves on a terminal, and a tenth of the rows apart elsewhere. */
function progressLine(count: number): (done: number) => void {
  const { isTTY } = process.stderr;
  const stride = Math.ceil(count / 10);
  return (done) => {
    const line = `route: ${done}/${count} rows`;
    if (isTTY) process.stderr.write(`\r\x1b[2K${line}${done === count ? '\n' : ''}`);
    else if (done === count || done % stride === 0) console.error(line);
  };
}
