import { readFile } from 'node:fs/promises';
import { resolveTrainConfig } from '@therapeutic-moe/trainer';
import { defineCommand } from 'citty';
import { errorLogger } from './model-options.js';
import { runTrain } from './train.js';

/** Trains what a config file describes. */
export const trainCommand = defineCommand({
  meta: { name: 'train', description: 'Train a model or an adapter from a config file.' },
  args: {
    config: { type: 'string', required: true, description: 'a training config (JSON)', valueHint: 'FILE' },
    resume: { type: 'boolean', description: 'go on from the newest checkpoint of the output folder' },
  },
  async run({ args }) {
    const text = await readFile(args.config, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw new Error(`${args.config} cannot be read (${cause.code}).`, { cause });
    });
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw new Error(`${args.config} is not valid JSON: ${(cause as Error).message}`, { cause });
    }
    const summary = await runTrain(resolveTrainConfig(json), { resume: args.resume, logger: errorLogger });
    console.log(JSON.stringify({ ...summary.result, model: summary.model, adapter: summary.adapter }));
  },
});
