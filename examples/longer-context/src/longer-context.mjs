import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelDirectory } from '@therapeutic-moe/embedded-model';
import { loadModel, model as modelFiles } from 'therapeutic-moe';
import { drawCurves } from './draw-curves.mjs';
import { scoreWindows } from './score-windows.mjs';
import { summarise } from './summary.mjs';
import { readTexts } from './texts.mjs';
import { tune, writeRows } from './tune.mjs';
import { variants, writeVariant } from './variants.mjs';
import { stretchOf } from './windows.mjs';

/** How much longer than in training the windows are. */
const FACTOR = 4;
/** Blocks, and so points of a curve, in one training length. */
const TRAINED_POSITIONS = 2;
const POSITIONS = FACTOR * TRAINED_POSITIONS;

/**
 * Measures a checkpoint at four times its training length, with each way of scaling its positions, as it is and after
 * tuning at that length. What `output` has already is not computed again.
 *
 * @param {{ data?: string, model?: string, output: string, steps: number, windows: number, backend: string }} options
 *   `windows` are the most of each text.
 */
export async function run({ data, model = modelDirectory, output, steps, windows: most, backend }) {
  const { maxPositionEmbeddings: trained } = await modelFiles.readModelConfig(model);
  const [length, block] = [FACTOR * trained, trained / TRAINED_POSITIONS];
  await mkdir(output, { recursive: true });
  const { sets, training } = await readSets(data, model, backend, { positions: POSITIONS, block, most });
  const rows = await writeRows(output, training);

  const models = [];
  for (const variant of Object.keys(variants)) {
    const folder = join(output, variant);
    const plain = await writeVariant(model, join(folder, 'plain'), variant, FACTOR);
    models.push({ variant, state: 'plain', folder: plain });
    if (variants[variant].onlyPlain) continue;
    const tuned = await once(join(folder, 'tuned.json'), () =>
      tune(plain, join(folder, 'tuned'), { rows, length, steps, backend }),
    );
    models.push({ variant, state: 'tuned', ...tuned });
  }
  const summaries = [];
  for (const set of sets) summaries.push(await measure(set, models, { output, block, backend }));
  return report(output, { trained, length, block, steps }, summaries, models);
}

/** Computes what a file does not hold yet. */
async function once(file, compute) {
  const kept = await readFile(file, 'utf8').catch(() => undefined);
  if (kept !== undefined) return JSON.parse(kept);
  const made = await compute();
  await writeFile(file, JSON.stringify(made));
  return made;
}

async function readSets(data, folder, backend, options) {
  const { tokenizer, decoder } = await loadModel(folder, { backend, logger: console });
  decoder.dispose();
  const cut = (text) => stretchOf(tokenizer, text, options);
  const { sets, training } = await readTexts(data, (text) => cut(text) !== undefined);
  for (const { name, texts } of sets) {
    if (texts.length < 2)
      throw new Error(`${name}: an interval needs at least 2 texts that are long enough, got ${texts.length}.`);
  }
  return { training, sets: sets.map(({ name, texts }) => ({ name, stretches: texts.map(cut) })) };
}

/** Scores every model on one set of texts. */
async function measure({ name, stretches }, models, { output, block, backend }) {
  const runs = [];
  for (const { variant, state, folder } of models) {
    console.log(`${name}: ${variant}, ${state}`);
    const scores = join(output, variant, `${state}-${name}.json`);
    runs.push({ variant, state, ...(await once(scores, () => score(folder, stretches, block, backend))) });
  }
  return summarise({ name, stretches }, runs, TRAINED_POSITIONS);
}

/** @returns nats as `[texts][windows][positions]`, and the seconds it took. */
async function score(folder, stretches, block, backend) {
  const { decoder } = await loadModel(folder, { backend });
  const began = performance.now();
  const nats = [];
  for (const { windows } of stretches) nats.push(await scoreWindows(decoder, windows, block));
  decoder.dispose();
  return { nats, seconds: (performance.now() - began) / 1000 };
}

async function report(output, settings, summaries, models) {
  const tuning = models.flatMap(({ variant, seconds, tokens }) => (seconds ? [{ variant, seconds, tokens }] : []));
  const results = { ...settings, tuning, sets: summaries };
  await writeFile(join(output, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  const names = Object.fromEntries(Object.entries(variants).map(([variant, { name }]) => [variant, name]));
  for (const set of summaries) {
    await writeFile(join(output, `${set.name}.svg`), drawCurves(set, settings, names));
    printTable(set, names);
  }
  console.log(`\nresults and plots: ${output}`);
  return results;
}

const interval = ({ value, low, high }) => `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;

function printTable({ name, texts, windows, bytes, curves }, names) {
  console.log(
    `\n${name}: ${texts} texts, ${windows} windows, ${bytes} bytes counted; bits per byte with 95 % intervals`,
  );
  console.log('| positions | weights | last trained | beyond | beyond less last trained | beyond less no scaling |');
  console.log('|---|---|---|---|---|---|');
  for (const { variant, state, within, beyond, gain, beyondAgainstNone } of curves) {
    const cells = [names[variant], state, ...[within, beyond, gain, beyondAgainstNone].map(interval)];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
