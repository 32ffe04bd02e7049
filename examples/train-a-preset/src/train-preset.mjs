import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadModel, runTrain, tokenizer as tokenizers, trainer } from 'therapeutic-moe';
import { readCorpus } from './corpus.mjs';

/** Entries of the tokenizer; a few hundred merges are all that this much text can teach. */
const VOCAB_SIZE = 1024;

const lineLogger = { info: (line) => console.log(line), warn: (line) => console.log(`note: ${line}`) };

/**
 * Trains a preset on text and loads what was saved.
 *
 * @param {string} preset
 * @param {{ data?: string, steps: number, output: string, backend: string, overrides?: object, batchSize?: number, sequenceLength?: number }} options
 * @returns the loaded model, the rows that were held out, the mean loss of the first and the last tenth of the steps, and
 *   what the log says of the last step.
 */
export async function trainPreset(preset, options) {
  const { data, steps, output, backend, overrides = {}, batchSize = 8, sequenceLength = 64 } = options;
  const rows = readCorpus(data);
  const heldOut = rows.filter((_, i) => i % 10 === 0);
  const learned = rows.filter((_, i) => i % 10 !== 0);
  const inputs = join(output, 'inputs');
  await mkdir(inputs, { recursive: true });
  const domains = [...new Set(rows.map(({ domain }) => domain).filter((domain) => domain !== undefined))];
  await writeRows(join(inputs, 'train.jsonl'), learned);
  await writeRows(join(inputs, 'validation.jsonl'), heldOut);
  await trainTokenizer(inputs, learned, sequenceLength);

  const config = trainer.resolveTrainConfig({
    seed: 7,
    backend,
    output: join(output, 'run'),
    model: { preset, overrides },
    tokenizer: inputs,
    data: {
      format: 'text',
      train: [join(inputs, 'train.jsonl')],
      validation: [join(inputs, 'validation.jsonl')],
      sequenceLength,
      ...(domains.length > 0 && { domains }),
    },
    training: {
      steps,
      batchSize,
      learningRate: 2e-3,
      warmupSteps: Math.min(20, steps - 1),
      evaluateEverySteps: Math.max(1, Math.ceil(steps / 2)),
      save: 'last',
    },
  });
  const summary = await runTrain(config, { logger: lineLogger });
  const log = await readLog(join(output, 'run', 'train.jsonl'));
  const loss = meanLosses(log.map((step) => step.loss));
  console.log(`loss: ${loss.first.toFixed(3)} at first, ${loss.last.toFixed(3)} at last`);
  const model = await loadModel(summary.model, { backend });
  return { model, folder: summary.model, heldOut, loss, lastStep: log.at(-1) };
}

function writeRows(path, rows) {
  return writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

async function trainTokenizer(folder, rows, contextLength) {
  const { CHAT_SPECIAL_TOKENS: specialTokens, chatTokenizerConfig, trainBpe } = tokenizers;
  const json = trainBpe(
    rows.map(({ text }) => text),
    { vocabSize: VOCAB_SIZE, specialTokens },
  );
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(chatTokenizerConfig(contextLength)));
}

async function readLog(path) {
  const lines = (await readFile(path, 'utf8')).trim().split('\n');
  return lines.map((line) => JSON.parse(line));
}

function meanLosses(losses) {
  const few = Math.ceil(losses.length / 10);
  const mean = (some) => some.reduce((sum, loss) => sum + loss, 0) / some.length;
  return { first: mean(losses.slice(0, few)), last: mean(losses.slice(-few)) };
}
