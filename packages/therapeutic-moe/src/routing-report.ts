import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { writeFileAtomic } from '@therapeutic-moe/checkpoint';
import { type RoutedPassage, renderRoutingReport } from '@therapeutic-moe/eval';
import { evaluationQuestions } from './commands/eval-questions.js';
import type { LanguageModel } from './language-model.js';
import { describeTexts, type RoutedTexts, RoutedTextsRecorder, toPassage } from './routed-texts.js';

/** One text to route. */
export interface RouteRow {
  readonly id: string | number;
  readonly text: string;
  /** Where the text comes from, for the report's heat maps. */
  readonly domain?: string;
}

/** Invented questions that the report colours where no text of the input is to be shown. */
const SHOWN_QUESTIONS = 3;

/**
 * Routes texts one after the other.
 *
 * @param onRow is told each row's shares by expert, which sum to 1, as soon as they are known.
 * @returns usage of all of them, without their text.
 */
export async function routeTexts(
  model: LanguageModel,
  rows: readonly RouteRow[],
  onRow: (row: RouteRow, shares: readonly number[], done: number) => void = () => undefined,
): Promise<RoutedTexts> {
  const { numExperts, numExpertsPerTok } = mixtureOf(model);
  const recorder = new RoutedTextsRecorder(numExperts, numExpertsPerTok);
  for (const [i, row] of rows.entries()) onRow(row, recorder.add(await model.trace(row.text), row.domain), i + 1);
  return recorder.result();
}

/**
 * Writes `routing.html`: heat maps of domain by expert, entropies, dead experts, load over time and coloured tokens.
 *
 * @param shown rows whose text the page is to hold; none: it colours questions that this project invented.
 * @returns the path of the page.
 */
export async function writeRoutingReport(
  model: LanguageModel,
  routed: RoutedTexts,
  { folder, source, shown = [] }: { folder: string; source: string; shown?: readonly RouteRow[] },
): Promise<string> {
  const { numExperts, numExpertsPerTok, layers } = mixtureOf(model);
  const summary = describeTexts(routed);
  const html = renderRoutingReport({
    title: `Routing of ${model.id}`,
    facts: {
      input: source,
      rows: routed.rows.length,
      tokens: summary.domains.reduce((sum, { tokens }) => sum + tokens, 0),
      model: model.id,
      revision: model.revision,
      layers: summary.layers.length,
      experts: numExperts,
      backend: tf.getBackend(),
    },
    experts: model.expertNames,
    numExpertsPerTok,
    ...summary,
    ...(layers && { layerNumbers: layers }),
    passages: await readPassages(model, shown),
  });
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'routing.html');
  await writeFileAtomic(path, html);
  return path;
}

function mixtureOf(model: LanguageModel) {
  const { mixture } = model.decoder.config;
  if (!mixture) throw new Error(`${model.id} has no experts; there is no routing to show.`);
  return mixture;
}

async function readPassages(model: LanguageModel, rows: readonly RouteRow[]): Promise<RoutedPassage[]> {
  const { numExpertsPerTok } = mixtureOf(model);
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
