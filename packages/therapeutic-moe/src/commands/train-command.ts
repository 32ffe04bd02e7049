import { readFile } from 'node:fs/promises';
import type { WeightDtype } from '@therapeutic-moe/model';
import { resolveTrainConfig } from '@therapeutic-moe/trainer';
import { defineCommand } from 'citty';
import { errorLogger, readPrecision } from './model-options.js';
import { runTrain } from './train.js';

/** Trains what a config file describes. */
export const trainCommand = defineCommand({
  meta: { name: 'train', description: 'Train a model or an adapter from a config file.' },
  args: {
    config: { type: 'string', required: true, description: 'a training config (JSON)', valueHint: 'FILE' },
    precision: {
      type: 'string',
      description: 'hold the weights under an adapter in bfloat16, float16 or int8; as model.weights in the config',
    },
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
    const config = resolveTrainConfig(
      args.precision === undefined ? json : withWeights(json, readPrecision(args.precision)),
    );
    const summary = await runTrain(config, { resume: args.resume, logger: errorLogger });
    console.log(JSON.stringify({ ...summary.result, model: summary.model, adapter: summary.adapter }));
  },
});

/** The config as if it had said so itself; what is no config is left to the check. */
function withWeights(json: unknown, weights: WeightDtype): unknown {
  const config = json as { model?: object } | null;
  return typeof config?.model === 'object' ? { ...config, model: { ...config.model, weights } } : json;
}
