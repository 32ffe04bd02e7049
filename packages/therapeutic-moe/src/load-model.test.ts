import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { attachLora, type LoraConfig, saveAdapter } from '@therapeutic-moe/lora';
import { CausalLm, loadModelDirectory, presets, saveModelDirectory } from '@therapeutic-moe/model';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig, Tokenizer, trainBpe } from '@therapeutic-moe/tokenizer';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LanguageModel } from './language-model.js';
import { loadModel } from './load-model.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'load-model-'));
  const json = trainBpe(['a walk helps the mind'], { vocabSize: 270, specialTokens: CHAT_SPECIAL_TOKENS });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(json));
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(chatTokenizerConfig(32)));
  const { vocabSize } = await Tokenizer.fromDirectory(folder);
  const shape = { hiddenSize: 12, intermediateSize: 14, numHiddenLayers: 1, numAttentionHeads: 2, headDim: 8 };
  const model = CausalLm.create(
    presets.therapeutic({ ...shape, vocabSize, numKeyValueHeads: 1, maxPositionEmbeddings: 32 }),
    7,
  );
  await saveModelDirectory(model, folder);
  model.dispose();
});

afterAll(() => rm(folder, { recursive: true }));

it('frees the weights when the adapter does not fit after all', async () => {
  const first = await loadModel(folder, { backend: 'cpu' });
  first.dispose();
  const adapter = await adapterFolder('renamed', 1, 4);
  const file = join(adapter, 'adapter_model.safetensors');
  const bytes = await readFile(file);
  await writeFile(file, bytes.toString('latin1').replace('q_proj.lora_A', 'x_proj.lora_A'), 'latin1');
  const before = tf.memory().numTensors;
  await expect(loadModel(folder, { backend: 'cpu', adapter })).rejects.toThrow('x_proj');
  expect(tf.memory().numTensors).toBe(before);
});

it('refuses adapters that are none or of another base before a backend starts', async () => {
  const wide = await adapterFolder('wide', 1, 4);
  const file = join(wide, 'adapter_config.json');
  const json = JSON.parse(await readFile(file, 'utf8'));
  const backend = 'none such' as never;
  const refuses = async (says: string) => {
    await expect(loadModel(folder, { backend, adapter: wide })).rejects.toThrow(says);
    await expect(loadModel(folder, { backend, adapters: { calm: wide } })).rejects.toThrow(says);
  };
  await writeFile(file, JSON.stringify({ ...json, r: 3 }));
  await refuses('was it made for another base?');
  await writeFile(file, JSON.stringify({ ...json, target_modules: ['none_proj'] }));
  await refuses('wide: the adapter does not fit this model: ');
  await rm(file);
  await refuses('a PEFT adapter folder holds adapter_config.json');
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

/** A folder with an adapter as training leaves it. */
async function adapterFolder(
  name: string,
  seed: number,
  loraAlpha: number,
  settings: Partial<LoraConfig> = {},
): Promise<string> {
  const model = await loadModelDirectory(folder);
  const adapter = attachLora(model, { r: 2, loraAlpha, ...settings }, seed);
  for (const { b } of [...adapter.layers.values(), ...adapter.stacks.values()])
    tf.tidy(() => b.assign(tf.randomNormal(b.shape, 0, 1, 'float32', seed)));
  const path = join(folder, name);
  await saveAdapter(adapter, path);
  model.dispose();
  return path;
}

async function reply(model: LanguageModel, prompt: string): Promise<string> {
  let text = '';
  for await (const piece of model.stream(prompt, { maxTokens: 8, temperature: 0, repetitionPenalty: 1 })) text += piece;
  return text;
}

it('answers under the name of each adapter as a model does that it is merged into, and by the base as before', async () => {
  const onExperts = { targetModules: [], targetParameters: ['experts.down_proj'] };
  const [calm, warm] = [await adapterFolder('calm', 1, 40), await adapterFolder('warm', 2, 40, onExperts)];
  const alone = [];
  for (const adapter of [undefined, calm, warm]) {
    const model = await loadModel(folder, { backend: 'cpu', adapter });
    alone.push({
      reply: await reply(model, 'a walk'),
      score: await model.score('helps the mind'),
      routing: await model.routing('a walk helps'),
      adapter: model.adapter,
    });
    model.dispose();
  }
  const before = tf.memory().numTensors;
  const model = await loadModel(folder, { backend: 'cpu', adapters: { calm, warm } });
  const together = [model, model.adapters.get('calm')!, model.adapters.get('warm')!];
  expect(together.map(({ id, parent }) => [id, parent])).toEqual([
    [model.id, undefined],
    ['calm', model.id],
    ['warm', model.id],
  ]);
  for (const round of [1, 2]) {
    const replies = await Promise.all(together.map((each) => reply(each, 'a walk')));
    expect(replies, `round ${round}`).toEqual(alone.map(({ reply }) => reply));
  }
  for (const [i, each] of together.entries()) {
    expect((await each.score('helps the mind')).nats).toBeCloseTo(alone[i]!.score.nats, 3);
    const routing = await each.routing('a walk helps');
    for (const [expert, share] of Object.entries(alone[i]!.routing)) expect(routing[expert]).toBeCloseTo(share, 3);
    expect(each.adapter).toBe(alone[i]!.adapter);
  }
  expect(new Set(alone.map(({ score }) => score.nats)).size).toBe(3);
  model.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

it('knows adapters apart by their settings too, and refuses to merge one beside others', async () => {
  const [one, other] = [await adapterFolder('one', 1, 2), await adapterFolder('other', 1, 4)];
  const model = await loadModel(folder, { backend: 'cpu', adapters: { one, other } });
  expect(model.adapters.get('one')!.adapter).not.toBe(model.adapters.get('other')!.adapter);
  model.dispose();
  await expect(loadModel(folder, { backend: 'cpu', adapter: one, adapters: { other } })).rejects.toThrow(
    'give one or the other',
  );
});

/** The checkpoint with one of its JSON files changed. */
async function changed(file: string, change: (json: Record<string, unknown>) => unknown): Promise<string> {
  const copy = await mkdtemp(join(folder, 'changed-'));
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
    await cp(join(folder, name), join(copy, name));
  const content = await readFile(join(copy, file), 'utf8').catch(() => '{}');
  await writeFile(join(copy, file), JSON.stringify(change(JSON.parse(content))));
  return copy;
}

it('refuses a tokenizer of another vocabulary before it allocates anything', async () => {
  const before = tf.memory().numTensors;
  const added = { id: 300, content: '<|new|>', single_word: false, lstrip: false, rstrip: false, normalized: false };
  const withToken = await changed('tokenizer.json', (json) => ({
    ...json,
    added_tokens: [...(json.added_tokens as object[]), { ...added, special: true }],
  }));
  await expect(loadModel(withToken, { backend: 'cpu' })).rejects.toThrow(
    /tokenizer\.json: the added token "<\|new\|>" has the id 300, expected ids below 261, the vocab_size of config\.json/,
  );
  const smaller = await changed('config.json', (json) => ({ ...json, vocab_size: 200 }));
  await expect(loadModel(smaller, { backend: 'cpu' })).rejects.toThrow(
    /token ".*" has the id 260, expected ids below 200/,
  );
  const beyond = await changed('generation_config.json', () => ({ eos_token_id: [0, 300] }));
  await expect(loadModel(beyond, { backend: 'cpu' })).rejects.toThrow(
    'eos_token_id must hold token ids from 0 to 260, got 300',
  );
  expect(tf.memory().numTensors).toBe(before);
});

it('lays conversations out by the template of the checkpoint, and ends replies at any of its tokens', async () => {
  const template = "{% for message in messages %}{{ '<|user|>' + message['content'] }}{% endfor %}";
  const own = await changed('tokenizer_config.json', (json) => ({ ...json, chat_template: template }));
  await writeFile(join(own, 'generation_config.json'), JSON.stringify({ eos_token_id: [...Array(261).keys()] }));
  const model = await loadModel(own, { backend: 'cpu' });
  expect(model.template).toBe(template);
  expect(model.tokenizer.encodeChat([{ role: 'user', content: 'a' }])).toHaveLength(2);
  let said = '';
  for await (const text of model.stream('a walk', { maxTokens: 5 })) said += text;
  expect(said).toBe('');
  model.dispose();
});

it('ends replies at any token that config.json names, where generation_config.json names none', async () => {
  const own = await changed('config.json', (json) => ({ ...json, eos_token_id: [...Array(261).keys()] }));
  for (const [eos, reason] of [
    [undefined, 'stop'],
    [0, 'length'],
  ] as const) {
    await writeFile(join(own, 'generation_config.json'), JSON.stringify({ eos_token_id: eos }));
    const model = await loadModel(own, { backend: 'cpu' });
    const options = { maxTokens: 2, temperature: 0, topP: 1, stop: [] };
    const reply = model.chat([{ role: 'user', content: 'a' }], options, new AbortController().signal);
    for await (const event of reply) if (event.type === 'done') expect(event.finishReason).toBe(reason);
    model.dispose();
  }
});

it('says that a folder has no tokenizer', async () => {
  const without = await changed('config.json', (json) => json);
  await rm(join(without, 'tokenizer.json'));
  await expect(loadModel(without, { backend: 'cpu' })).rejects.toThrow(
    'expected a tokenizer.json in this folder, got none',
  );
});
