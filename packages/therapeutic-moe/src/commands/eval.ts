import { cpus } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { evaluate, openAiModel, type Task, writeResults } from '@therapeutic-moe/eval';
import { defineCommand } from 'citty';
import type { LanguageModel } from '../language-model.js';
import {
  crisisSets,
  crisisTask,
  fileTasks,
  localCrisisDetector,
  questionsTask,
  remoteCrisisDetector,
  safetyActionOf,
} from './eval-suite.js';
import { loadFromOptions, modelOptions } from './model-options.js';
import { readNumber } from './numbers.js';

/** Evaluates a model, here or behind a URL, and writes `results.json` and `report.html`. */
export const evalCommand = defineCommand({
  meta: { name: 'eval', description: 'Evaluate a model and write results.json and report.html.' },
  args: {
    ...modelOptions,
    url: {
      type: 'string',
      description: 'evaluate the server at this OpenAI-compatible URL instead, up to /v1',
      valueHint: 'URL',
    },
    'url-model': { type: 'string', description: "that server's model name", default: 'therapeutic-moe-demo' },
    data: {
      type: 'string',
      description: 'JSONL files with text or messages rows, separated by commas',
      valueHint: 'FILES',
    },
    'max-rows': { type: 'string', description: 'most rows of each domain in a file', default: '200' },
    output: { type: 'string', description: 'folder to write to', default: 'runs/eval' },
    seed: { type: 'string', description: 'seed of sampling and of the bootstrap', default: '7' },
  },
  async run({ args }) {
    const seed = readNumber('seed', args.seed, { min: 0, max: 2 ** 31 - 1, whole: true });
    const limit = readNumber('max-rows', args['max-rows'], { min: 1, max: 1e9, whole: true });
    const files = args.data?.split(',').map((file) => file.trim()) ?? [];
    if (args.url && files.length > 0)
      throw new Error(
        '--data needs the model here: a server does not tell how likely a text is. Leave --url or --data out.',
      );
    const model = args.url ? undefined : await loadFromOptions(args);
    try {
      const tasks = model
        ? [...crisisSets.map((set) => crisisTask(set, localCrisisDetector)), questionsTask(localModel(model, seed))]
        : await tasksForUrl(args.url!, args['url-model'], seed);
      if (model) tasks.push(...(await fileTasks(model, files, limit)));
      const results = await evaluate(tasks, {
        seed,
        date: new Date().toISOString(),
        title: `Evaluation of ${model?.id ?? args['url-model']}`,
        environment: {
          model: model?.id ?? args.url!,
          ...(model ? { revision: model.revision, backend: tf.getBackend() } : {}),
          machine: `${cpus()[0]?.model.trim()}, ${cpus().length} cores`,
          node: process.version,
        },
        onProgress: progressLine(),
      });
      const written = await writeResults(args.output, results);
      console.log(`${written.results}\n${written.report}`);
    } finally {
      model?.dispose();
    }
  },
});

/**
 * What can be asked of a server. Its crisis detection is measured where its replies tell what the policy did; our own detector says nothing about it.
 *
 * @throws before any task runs when the server does not answer.
 */
async function tasksForUrl(baseUrl: string, model: string, seed: number): Promise<Task[]> {
  const brief = openAiModel({ baseUrl, model, temperature: 0, maxTokens: 1 });
  const reports = safetyActionOf(await brief([{ role: 'user', content: 'Hello.' }])) !== undefined;
  if (!reports) console.error('eval: this server does not report a safety action; crisis detection is left out.');
  const crisis = reports ? crisisSets.map((set) => crisisTask(set, remoteCrisisDetector(brief))) : [];
  return [...crisis, questionsTask(openAiModel({ baseUrl, model, temperature: 0.4, seed }))];
}

/** Replies as the server would give them by default. */
function localModel(model: LanguageModel, seed: number) {
  return async (
    messages: readonly { role: 'system' | 'user' | 'assistant'; content: string }[],
    signal?: AbortSignal,
  ) => {
    let text = '';
    let finishReason: string | undefined;
    const options = { ...model.defaults, seed, stop: [] };
    for await (const event of model.chat([...messages], options, signal ?? new AbortController().signal)) {
      if (event.type === 'text') text += event.text;
      else finishReason = event.finishReason;
    }
    return { text, finishReason };
  };
}

/** One line on standard error that moves on a terminal, and one per task elsewhere. */
function progressLine() {
  const { isTTY } = process.stderr;
  return ({
    task,
    taskNumber,
    taskCount,
    samplesDone,
    sampleCount,
  }: {
    task: string;
    taskNumber: number;
    taskCount: number;
    samplesDone: number;
    sampleCount: number;
  }) => {
    const line = `[${taskNumber}/${taskCount}] ${task}: ${samplesDone}/${sampleCount}`;
    if (isTTY) process.stderr.write(`\r\x1b[2K${line}${samplesDone === sampleCount ? '\n' : ''}`);
    else if (samplesDone === sampleCount) console.error(line);
  };
}
