import * as tf from '@tensorflow/tfjs-core';
import { type BackendChoice, useBackend } from '@therapeutic-moe/backend';
import { argmax } from '@therapeutic-moe/generate';
import { type CausalLm, loadAdapter, loadModelDirectory } from '@therapeutic-moe/model';
import { defineCommand } from 'citty';
import { errorLogger, modelOptions, readPrecision } from './model-options.js';
import { readIds, readNumber } from './numbers.js';

/** Logits of given ids: for comparing with other implementations. No tokenizer is needed. */
export const logitsCommand = defineCommand({
  meta: { name: 'logits', description: 'Print the logits of the last position for given token ids.' },
  args: {
    ...modelOptions,
    model: { ...modelOptions.model, required: true, description: 'checkpoint folder' },
    ids: { type: 'string', required: true, description: 'token ids, such as 5,6,7' },
    greedy: { type: 'string', description: 'also decode this many tokens greedily', default: '0' },
    json: { type: 'boolean', description: 'print one JSON object' },
  },
  async run({ args }) {
    const ids = readIds('ids', args.ids);
    const count = readNumber('greedy', args.greedy, { min: 0, max: 1_000_000, whole: true });
    const weights = readPrecision(args.precision);
    const { name } = await useBackend(args.backend as BackendChoice, { logger: errorLogger });
    const model = await loadModelDirectory(args.model, { weights });
    try {
      if (args.adapter) await loadAdapter(model, args.adapter);
      const { logits, allArgmax } = await logitsOf(model, ids);
      const greedy = await decodeGreedily(model, ids, count);
      const result = { logits: [...logits], allArgmax: [...allArgmax], greedy, backend: name };
      if (args.json) console.log(JSON.stringify(result));
      else
        console.log(
          `backend ${name}\nbest next token ${argmax(logits)}\nbest at every position ${result.allArgmax}\ngreedy ${greedy}`,
        );
    } finally {
      model.dispose();
    }
  },
});

async function logitsOf(model: CausalLm, ids: readonly number[]) {
  const bad = ids.find((id) => id >= model.vocabSize);
  if (bad !== undefined) throw new Error(`--ids: ${bad} is outside the model's vocabulary of ${model.vocabSize}.`);
  const { last, best } = tf.tidy(() => {
    const { logits } = model.forward(tf.tensor2d([[...ids]], [1, ids.length], 'int32'));
    return { last: tf.slice(logits, [0, ids.length - 1, 0], [1, 1, -1]), best: tf.argMax(logits, -1) };
  });
  const [logits, allArgmax] = [(await last.data()) as Float32Array, (await best.data()) as Int32Array];
  tf.dispose([last, best]);
  return { logits, allArgmax };
}

async function decodeGreedily(model: CausalLm, ids: readonly number[], count: number): Promise<number[]> {
  const greedy: number[] = [];
  const session = model.createSession();
  try {
    for (let next = ids; greedy.length < count; next = greedy.slice(-1)) {
      greedy.push(argmax((await session.append(next)).logits));
    }
  } finally {
    session.dispose();
  }
  return greedy;
}
