import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelDirectory } from '@therapeutic-moe/embedded-model';
import { loadModel } from 'therapeutic-moe';
import { bitsPerByte, costsByText, difference } from './bits-per-byte.mjs';
import { drawCurves } from './draw-curves.mjs';
import { bucketSums, scoreWindows } from './score-windows.mjs';
import { readTexts } from './texts.mjs';
import { tune, writeRows } from './tune.mjs';
import { variants, writeVariant } from './variants.mjs';
import { windowsOf } from './windows.mjs';

const FACTOR = 4;
const BUCKETS = 16;

/**
 * Measures a checkpoint at four times its training length, with each way of scaling its positions, as it is and after
 * tuning at that length. What is already in `output` is not computed again.
 *
 * @param {{ data?: string, model?: string, output: string, steps: number, windows: number, backend: string }} options
 */
export async function run({ data, model = modelDirectory, output, steps, windows: most, backend }) {
  const { max_position_embeddings: trained } = JSON.parse(await readFile(join(model, 'config.json'), 'utf8'));
  const length = FACTOR * trained;
  const bucket = length / BUCKETS;
  await mkdir(output, { recursive: true });
  const { sets, training } = await readSets(data, model, backend, { length, stride: trained, most });
  const rows = await writeRows(output, training);

  const runs = [];
  for (const variant of Object.keys(variants)) {
    const folder = join(output, variant);
    const plain = await once(join(folder, 'plain.json'), async () => ({
      model: await writeVariant(model, join(folder, 'plain'), variant, FACTOR),
    }));
    const tuned = await once(join(folder, 'tuned.json'), () =>
      tune(plain.model, join(folder, 'tuned'), { rows, length, steps, backend }),
    );
    for (const [state, made] of Object.entries({ plain, tuned })) {
      const scored = await once(join(folder, `${state}-scores.json`), () => scoreSets(made.model, sets, bucket, backend));
      runs.push({ variant, state, ...made, ...scored });
    }
  }

  const results = { trained, length, bucket, steps, sets: sets.map((set, i) => summarise(set, i, runs, bucket)) };
  await writeFile(join(output, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  const names = Object.fromEntries(Object.entries(variants).map(([variant, { name }]) => [variant, name]));
  for (const set of results.sets) {
    await writeFile(join(output, `${set.name}.svg`), drawCurves(set, results, names));
    printTable(set);
  }
  console.log(`results: ${join(output, 'results.json')}`);
  return results;
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
  const isLong = (text) => tokenizer.encode(text).length >= options.length;
  const { sets, training } = await readTexts(data, isLong);
  return { training, sets: sets.map(({ name, texts }) => toSet(name, texts, tokenizer, options)) };
}

function toSet(name, texts, tokenizer, options) {
  if (texts.length < 2) {
    throw new Error(
      `${name}: ${texts.length} texts are as long as ${options.length} tokens; an interval needs at least 2.`,
    );
  }
  const windows = windowsOf(tokenizer, texts, options);
  console.log(`${name}: ${windows.length} windows of ${options.length} tokens from ${texts.length} texts`);
  return { name, texts: texts.length, windows };
}

async function scoreSets(folder, sets, bucket, backend) {
  const { decoder } = await loadModel(folder, { backend });
  const began = performance.now();
  const scores = [];
  for (const { windows } of sets) scores.push(await scoreWindows(decoder, windows, bucket));
  decoder.dispose();
  return { scores, scoringSeconds: (performance.now() - began) / 1000 };
}

/** The curves of one set: bits per byte of each bucket, up to the training length, beyond it, and beyond it against no scaling. */
function summarise({ name, texts, windows }, set, runs, bucket) {
  const bytes = windows.map((window) => bucketSums(window.bytes, bucket));
  const inTraining = BUCKETS / FACTOR;
  const costs = ({ scores }, from, to) => costsByText(windows, scores[set], bytes, [from, to]);
  const curves = runs.map((one) => {
    const none = runs.find(({ variant, state }) => variant === 'none' && state === one.state);
    const beyond = costs(one, inTraining, BUCKETS);
    return {
      variant: one.variant,
      state: one.state,
      buckets: Array.from({ length: BUCKETS }, (_, at) => bitsPerByte(costs(one, at, at + 1))),
      within: bitsPerByte(costs(one, 0, inTraining)),
      beyond: bitsPerByte(beyond),
      beyondAgainstNone: difference(beyond, costs(none, inTraining, BUCKETS)),
      seconds: { scoring: one.scoringSeconds, tuning: one.seconds },
    };
  });
  const total = bytes.flat().reduce((sum, one) => sum + one, 0);
  return { name, texts, windows: windows.length, bytes: total, curves };
}

const interval = ({ value, low, high }) => `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;

function printTable({ name, curves }) {
  console.log(`\n${name}: bits per byte\n| positions | state | within | beyond | beyond, against none |\n|---|---|---|---|---|`);
  for (const { variant, state, within, beyond, beyondAgainstNone } of curves) {
    console.log(`| ${variant} | ${state} | ${interval(within)} | ${interval(beyond)} | ${interval(beyondAgainstNone)} |`);
  }
}
