import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadTrainData, resolveTrainConfig, type TrainTokenizer } from './index.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'train-data-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const letters = (text: string) => [...text].map((letter) => 10 + letter.charCodeAt(0));
const tokenizer: TrainTokenizer = {
  encode: letters,
  encodeChat: (messages, { addGenerationPrompt }) => [
    ...messages.flatMap(({ role, content }) => [role === 'assistant' ? 3 : 2, ...letters(content), 0]),
    ...(addGenerationPrompt ? [3] : []),
  ],
  eosTokenId: 0,
  padTokenId: 0,
};

async function file(name: string, rows: readonly unknown[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'));
  return path;
}

const config = (format: 'text' | 'chat', train: string, validation?: string) =>
  resolveTrainConfig({
    output: folder,
    model: { preset: 'therapeutic' },
    tokenizer: folder,
    data: {
      format,
      train: [train],
      validation: validation ? [validation] : undefined,
      sequenceLength: 16,
      domains: ['sea', 'land'],
      domainWeights: { sea: 1, land: 3 },
    },
    training: { steps: 10, batchSize: 2, learningRate: 0.1 },
  });

const talk = (question: string, answer: string) => [
  { role: 'user', content: question },
  { role: 'assistant', content: answer },
];

describe('loadTrainData', () => {
  it('reads text rows, one evaluation set per domain', async () => {
    const train = await file('train.jsonl', [
      { id: 'a', domain: 'sea', text: 'waves' },
      { id: 'b', domain: 'land', text: 'hügel' },
      '',
    ]);
    const validation = await file('held.jsonl', [
      { domain: 'land', text: 'dust' },
      { domain: 'sea', text: 'foam and salt' },
    ]);
    const { source, evaluation, sizes } = await loadTrainData(config('text', train, validation), tokenizer);
    expect(sizes).toEqual({ sea: { rows: 1, tokens: 5, bytes: 5 }, land: { rows: 1, tokens: 5, bytes: 6 } });
    expect(Object.entries(evaluation).map(([name, set]) => [name, set.bytes])).toEqual([
      ['sea', 13],
      ['land', 4],
    ]);
    expect(source.nextStep(1)[0]).toMatchObject({ batch: 2, seq: 16 });
  });

  it('renders conversations among texts in the chat template', async () => {
    const rows = [
      { domain: 'sea', text: 'waves' },
      { domain: 'land', messages: talk('far?', 'no') },
    ];
    const { sizes } = await loadTrainData(config('text', await file('mixed.jsonl', rows)), tokenizer);
    expect(sizes.land).toEqual({ rows: 1, tokens: 10, bytes: 6 });
  });

  it('reads chat rows, shortens long histories and skips what cannot be shortened', async () => {
    const train = await file('train.jsonl', [
      { domain: 'sea', messages: talk('deep?', 'yes') },
      { domain: 'land', messages: [...talk('high?', 'no'), ...talk('far?', 'no')] },
      { domain: 'land', messages: talk('how far is it to the hill?', 'a mile') },
    ]);
    const data = await loadTrainData(config('chat', train), tokenizer);
    expect(data).toMatchObject({
      skipped: 1,
      shortened: 1,
      evaluation: {},
      sizes: { sea: { rows: 1 }, land: { rows: 1, tokens: 10, bytes: 2 } },
    });
  });

  it('names a bad row by file and line and never repeats it', async () => {
    const bad = async (row: unknown, format: 'text' | 'chat' = 'text') => {
      const path = await file('bad.jsonl', [{ domain: 'sea', text: 'fine', messages: talk('a', 'b') }, row]);
      return loadTrainData(config(format, path), tokenizer).then(
        () => '',
        (error: Error) => error.message,
      );
    };
    expect(await bad('{"text": "secret')).toMatch(/bad\.jsonl line 2 is not JSON/);
    expect(await bad('{"text": "secret')).not.toContain('secret');
    expect(await bad({ domain: 'air', text: 'secret' })).toMatch(
      /line 2: domain "air" is not one of data\.domains: sea, land\./,
    );
    expect(await bad({ domain: 'sea' })).toMatch(
      /line 2 needs a text that is not empty, or messages to be rendered in the chat template/,
    );
    expect(await bad({ domain: 'sea', messages: [{ role: 'doctor', content: 'secret' }] }, 'chat')).toMatch(
      /line 2: messages must be a list/,
    );
    expect(await bad({ domain: 'sea', messages: [{ role: 'user', content: 'secret' }] }, 'chat')).toMatch(
      /line 2: there is no assistant message/,
    );
  });

  it('names a domain whose weight and rows disagree', async () => {
    const sea = await file('sea.jsonl', [{ domain: 'sea', text: 'waves' }]);
    await expect(loadTrainData(config('text', sea), tokenizer)).rejects.toThrow(
      'config: data.domainWeights.land is 3 but data.train has no usable row of it',
    );
    const none = await file('none.jsonl', [{ domain: 'sea', text: 'a' }, { domain: 'land', text: 'b' }, { text: 'c' }]);
    await expect(loadTrainData(config('text', none), tokenizer)).rejects.toThrow(
      'data.train has 1 rows without a domain, which data.domainWeights cannot weigh',
    );
  });

  it('names a missing file and a tokenizer without eos', async () => {
    await expect(loadTrainData(config('text', join(folder, 'absent.jsonl')), tokenizer)).rejects.toThrow(
      'absent.jsonl cannot be read',
    );
    const train = await file('train.jsonl', []);
    await expect(loadTrainData(config('text', train), { ...tokenizer, eosTokenId: undefined })).rejects.toThrow(
      'names no eos token',
    );
  });
});
