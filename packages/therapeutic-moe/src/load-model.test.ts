import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { CausalLm, presets, saveModelDirectory } from '@therapeutic-moe/model';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig, trainBpe } from '@therapeutic-moe/tokenizer';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadModel } from './load-model.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'load-model-'));
  const json = trainBpe(['a walk helps the mind'], { vocabSize: 270, specialTokens: CHAT_SPECIAL_TOKENS });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(chatTokenizerConfig(32)));
  const shape = { hiddenSize: 12, intermediateSize: 14, numHiddenLayers: 1, numAttentionHeads: 2, headDim: 8 };
  const model = CausalLm.create(
    presets.therapeutic({ ...shape, vocabSize: 300, numKeyValueHeads: 1, maxPositionEmbeddings: 32 }),
    7,
  );
  await saveModelDirectory(model, folder);
  model.dispose();
});

afterAll(() => rm(folder, { recursive: true }));

it('frees the weights when the adapter cannot be read', async () => {
  const first = await loadModel(folder, { backend: 'cpu' });
  first.dispose();
  const before = tf.memory().numTensors;
  await expect(loadModel(folder, { backend: 'cpu', adapter: join(folder, 'no-adapter') })).rejects.toThrow(
    'no-adapter',
  );
  expect(tf.memory().numTensors).toBe(before);
});

it('keeps conversations as it is asked to', async () => {
  const model = await loadModel(folder, { backend: 'cpu', keptSessions: 0, kvCache: 'int8' });
  expect(model.revision).toMatch(/, int8 cache$/);
  const before = tf.memory().numTensors;
  for await (const _ of model.stream('a walk', { maxTokens: 2, seed: 1 }));
  expect(tf.memory().numTensors).toBe(before);
  model.dispose();
  const free = tf.memory().numTensors;
  await expect(loadModel(folder, { backend: 'cpu', keptSessions: -1 })).rejects.toThrow('whole number of 0 or more');
  expect(tf.memory().numTensors).toBe(free);
});
