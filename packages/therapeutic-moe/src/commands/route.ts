import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { writeFileAtomic } from '@therapeutic-moe/checkpoint';
import { type RoutedPassage, renderRoutingReport } from '@therapeutic-moe/eval';
import { defineCommand } from 'citty';
import type { LanguageModel } from '../language-model.js';
import { evaluationQuestions } from './eval-questions.js';
import { loadFromOptions, modelOptions } from './model-options.js';
import { readNumber } from './numbers.js';
import { type RoutedRow, sharesOf, summariseRows, sumRow, toPassage } from './route-report.js';
import { type RouteRow, readRouteRows } from './route-rows.js';

/** Invented questions that the report colours where no text of the input is to be shown. */
const SHOWN_QUESTIONS = 3;

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
      if (model.expertNames.length === 0) throw new Error(`${model.id} has no experts; there is no routing to show.`);
      const routed = await routeRows(model, rows, args.json === true);
      if (!args.json) console.log(renderTable(model.expertNames, routed));
      if (args.output === undefined) return;
      const passages = await readPassages(model, rows.slice(0, shown));
      const written = await writeReport(args.output, model, basename(args.input), routed, passages);
      if (args.json) console.error(written);
      else console.log(written);
    } finally {
      model.dispose();
    }
  },
});

async function routeRows(model: LanguageModel, rows: readonly RouteRow[], json: boolean): Promise<RoutedRow[]> {
  const names = model.expertNames;
  const { numExpertsPerTok } = model.decoder.config.mixture!;
  const progress = progressLine(rows.length);
  const routed: RoutedRow[] = [];
  for (const [i, { id, text, domain }] of rows.entries()) {
    const row = sumRow(await model.trace(text), domain, names.length, numExpertsPerTok);
    routed.push(row);
    progress(i + 1);
    if (!json) continue;
    const shares = sharesOf([row]);
    console.log(JSON.stringify({ id, usage: Object.fromEntries(names.map((name, e) => [name, shares[e]])) }));
  }
  return routed;
}

/** Mean shares of every domain, the largest first in each. */
function renderTable(names: readonly string[], rows: readonly RoutedRow[]): string {
  const lines = [...Map.groupBy(rows, ({ domain }) => domain)].map(([domain, members]) => {
    const shares = sharesOf(members)
      .map((share, e) => ({ name: names[e]!, share }))
      .sort((a, b) => b.share - a.share)
      .slice(0, 8)
      .map(({ name, share }) => `${name} ${(100 * share).toFixed(1)} %`);
    return `${domain.padEnd(24)} ${String(members.length).padStart(6)} rows  ${shares.join('  ')}`;
  });
  return lines.join('\n');
}

async function readPassages(model: LanguageModel, rows: readonly RouteRow[]): Promise<RoutedPassage[]> {
  const { numExpertsPerTok } = model.decoder.config.mixture!;
  const texts =
    rows.length > 0
      ? rows.map(({ id, text }) => ({ title: `row ${id}`, text }))
      : evaluationQuestions
          .slice(0, SHOWN_QUESTIONS)
          .map((text, i) => ({ title: `question ${i + 1}, invented by this project`, text }));
  const passages: RoutedPassage[] = [];
  for (const { title, text } of texts)
    passages.push(toPassage(title, model.tokenTexts(text), await model.trace(text), numExpertsPerTok));
  return passages;
}

/** Writes `routing.html`. @returns its path. */
export async function writeReport(
  folder: string,
  model: LanguageModel,
  source: string,
  rows: readonly RoutedRow[],
  passages: readonly RoutedPassage[],
): Promise<string> {
  const summary = summariseRows(rows);
  const html = renderRoutingReport({
    title: `Routing of ${model.id}`,
    facts: {
      input: source,
      rows: rows.length,
      tokens: summary.domains.reduce((sum, { tokens }) => sum + tokens, 0),
      model: model.id,
      revision: model.revision,
      layers: summary.layers.length,
      experts: model.expertNames.length,
      backend: tf.getBackend(),
    },
    experts: model.expertNames,
    numExpertsPerTok: model.decoder.config.mixture!.numExpertsPerTok,
    ...summary,
    passages,
  });
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'routing.html');
  await writeFileAtomic(path, html);
  return path;
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
