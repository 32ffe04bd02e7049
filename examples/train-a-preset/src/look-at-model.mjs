import { basename } from 'node:path';
import { generate, model as models, routeTexts, tokenizer as tokenizers, writeRoutingReport } from 'therapeutic-moe';

/**
 * Goes on from a beginning, as a model that has only seen plain text can.
 *
 * @param {import('therapeutic-moe').LanguageModel} model
 */
export async function sample(model, beginning, maxTokens = 40) {
  const stream = new tokenizers.StreamDecoder(model.tokenizer);
  const ids = model.tokenizer.encode(beginning);
  let text = beginning;
  const sampling = { maxTokens, temperature: 0.7, topP: 0.95, seed: 7, stopTokens: [] };
  for await (const piece of generate.generateText(model.decoder, stream, ids, sampling)) text += piece;
  return text;
}

/**
 * Saves a model and loads it again.
 *
 * @returns true when the loaded one gives the same logits to the bit.
 */
export async function survivesSaving(model, folder) {
  await models.saveModelDirectory(model.decoder, folder);
  const loaded = await models.loadModelDirectory(folder);
  const ids = model.tokenizer.encode('The model is saved and loaded again.');
  const [before, after] = [await nextLogits(model.decoder, ids), await nextLogits(loaded, ids)];
  loaded.dispose();
  return before.every((logit, i) => Object.is(logit, after[i]));
}

async function nextLogits(decoder, ids) {
  const session = decoder.createSession();
  try {
    return (await session.append(ids)).logits;
  } finally {
    session.dispose();
  }
}

/**
 * Routes rows once, for the load and for the report.
 *
 * @returns the rows by number, where their tokens went, and how often each expert was chosen, `[layers][experts]` shares.
 */
export async function routeRows(model, rows) {
  const named = rows.map((row, i) => ({ id: i + 1, ...row }));
  const routed = await routeTexts(model, named);
  return { named, routed, load: routed.layers.map(({ usage }) => usage.load) };
}

/**
 * Writes the report of rows that were routed; with the repository's own text it may show some of it.
 *
 * @returns the path of the page.
 */
export function reportRouting(model, { named, routed }, folder, source) {
  const shown = source === undefined ? named.slice(0, 3) : [];
  return writeRoutingReport(model, routed, {
    folder,
    source: source === undefined ? 'held-out documentation' : basename(source),
    shown,
  });
}

/** Mean bits per byte over texts. */
export async function bitsPerByte(model, rows) {
  let [nats, bytes] = [0, 0];
  for (const { text } of rows) {
    const score = await model.score(text);
    nats += score.nats;
    bytes += score.bytes;
  }
  return nats / Math.LN2 / bytes;
}
