import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { documents } from '@therapeutic-moe/example-train-a-preset';
import { readAnnomi, readOpenstax } from 'train-embedded-model/sources';

/** Of the embedded model's recipe: with it the held-out modules are those that the model has not seen. */
const RECIPE_SEED = 7;

/**
 * Texts to measure on, by set, and texts to tune on; no text is in both.
 *
 * With a folder: the textbook modules that the embedded model's recipe holds out, tuning on those it trained on; and
 * counselling transcripts of a source that neither saw. Without: this repository's documentation, every second long
 * file held out.
 *
 * @param {string | undefined} folder that holds `openstax_psychology` and, if there, `annomi`.
 * @param {(text: string) => boolean} isLong whether a text is long enough to be measured.
 * @returns {Promise<{ sets: { name: string, texts: string[] }[], training: string[] }>}
 */
export async function readTexts(folder, isLong) {
  if (folder === undefined) return splitDocuments(isLong);
  const { modules } = await readOpenstax(folder, RECIPE_SEED, () => undefined);
  const heldOut = modules.filter(({ split }) => split !== 'train').map(proseOf);
  const training = modules.filter(({ split }) => split === 'train').map(proseOf);
  const sets = [{ name: 'textbook', texts: heldOut.filter(isLong) }];
  if (existsSync(join(folder, 'annomi'))) {
    const { rows } = await readAnnomi(folder);
    sets.push({ name: 'dialogue', texts: rows.map(({ text }) => text).filter(isLong) });
  }
  return { sets, training };
}

const proseOf = ({ sections }) => sections.flatMap(({ heading, paragraphs }) => [heading, ...paragraphs]).join('\n\n');

function splitDocuments(isLong) {
  const texts = documents().map((path) => readFileSync(path, 'utf8'));
  const heldOut = texts.filter(isLong).filter((_, i) => i % 2 === 0);
  const training = texts.filter((text) => !heldOut.includes(text));
  return { sets: [{ name: 'documentation', texts: heldOut }], training };
}
