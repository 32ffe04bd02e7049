import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runTrain, trainer } from 'therapeutic-moe';

const lineLogger = { info: (line) => console.log(line), warn: (line) => console.log(`note: ${line}`) };

/** Writes texts as rows to train on. @returns the file. */
export async function writeRows(folder, texts) {
  const file = join(folder, 'training.jsonl');
  await writeFile(file, texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  return file;
}

/**
 * Tunes all weights of a checkpoint on rows of `length` tokens. Routing losses are off: they would pull apart, on texts
 * of one kind, what the router has learnt of four.
 *
 * @returns {Promise<{ folder: string, seconds: number, tokens: number }>} the tuned checkpoint's folder, and what it cost.
 */
export async function tune(from, output, { rows, length, steps, backend }) {
  const config = trainer.resolveTrainConfig({
    seed: 7,
    backend,
    output,
    model: { from },
    tokenizer: from,
    data: { format: 'text', train: [rows], sequenceLength: length },
    training: {
      steps,
      batchSize: 1,
      learningRate: 3e-4,
      warmupSteps: Math.min(5, steps - 1),
      weightDecay: 0,
    },
    auxiliary: { klBalance: 0, zLoss: 0 },
  });
  await rm(output, { recursive: true, force: true }); // of a run that was broken off
  const { model, result } = await runTrain(config, { logger: lineLogger });
  return { folder: model, seconds: result.elapsedSeconds, tokens: result.tokens };
}
