import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { evaluate } from '@therapeutic-moe/eval';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LanguageModel } from '../language-model.js';
import { crisisTask, fileTasks, localCrisisDetector, questionsTask, remoteCrisisDetector } from './eval-suite.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'eval-suite-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const options = { seed: 1, date: '2026-11-22T00:00:00Z' };

/** A model that finds every token a quarter as likely as certain, and always visits two experts alike. */
const model = {
  expertNames: ['a', 'b'],
  score: async (text: string) => ({ nats: text.length * Math.log(4), tokens: text.length, bytes: text.length }),
  scoreReplies: async (messages: readonly { role: string; content: string }[]) => {
    const bytes = messages.filter(({ role }) => role === 'assistant').reduce((n, { content }) => n + content.length, 0);
    return { nats: bytes * Math.log(16), tokens: bytes, bytes };
  },
  routing: async () => ({ a: 0.5, b: 0.5 }),
} as unknown as LanguageModel;

async function jsonl(name: string, rows: readonly unknown[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, rows.map((row) => JSON.stringify(row)).join('\n'));
  return path;
}

describe('fileTasks', () => {
  it('scores texts and the replies of conversations, at most so many rows of each domain', async () => {
    const texts = Array.from({ length: 11 }, (_, i) => ({ domain: i < 9 ? 'x' : 'y', text: 'abc'.repeat(i + 1) }));
    const chats = [
      {
        domain: 'x',
        messages: [
          { role: 'user', content: 'q' },
          { role: 'assistant', content: 'abcd' },
        ],
      },
    ];
    const files = [await jsonl('texts.jsonl', texts), await jsonl('chats.jsonl', chats)];
    const { tasks } = await evaluate(await fileTasks(model, files, 3), options);
    const [textTask, , chatTask] = tasks;
    expect(textTask!.dataset.size).toBe(5); // three of x, two of y
    const bits = (task: typeof textTask) =>
      task!.metrics.find(({ name }) => name === 'bits per byte') as { value: number };
    expect(bits(textTask).value).toBeCloseTo(2, 9);
    expect(bits(chatTask).value).toBeCloseTo(4, 9);
    expect(tasks.map(({ name }) => name)).toContain('expert usage on texts.jsonl');
  });

  it('refuses a row without text by its number, never by its content', async () => {
    const file = await jsonl('bad.jsonl', [{ text: 'fine' }, { secret: 'do not repeat me' }]);
    const failure = await fileTasks(model, [file], 9).catch((error: Error) => error.message);
    expect(failure).toContain('bad.jsonl: row 2');
    expect(failure).not.toContain('repeat');
  });
});

describe('crisisTask', () => {
  it('measures our detector on the sentences it was never tuned on', async () => {
    const { tasks } = await evaluate([crisisTask('held-out-new', localCrisisDetector)], options);
    const matrix = tasks[0]!.metrics.find(({ kind }) => kind === 'confusion') as { n: number; truePositives: number };
    expect(matrix.n).toBe(80);
    expect(matrix.truePositives).toBeGreaterThan(0);
  });

  it("reads a server's own action, and refuses a server that reports none", async () => {
    const answer = (action?: string) => async () => ({
      text: 'x',
      body: action ? { tmoe: { safety: { action } } } : {},
    });
    const { signal } = new AbortController();
    expect(await remoteCrisisDetector(answer('resources'))('x', signal)).toBe(true);
    expect(await remoteCrisisDetector(answer('none'))('x', signal)).toBe(false);
    await expect(remoteCrisisDetector(answer())('x', signal)).rejects.toThrow('without tmoe.safety');
  });
});

describe('questionsTask', () => {
  it('keeps ten exchanges, unedited', async () => {
    const { tasks } = await evaluate(
      [questionsTask(async () => ({ text: ' as it came ', finishReason: 'stop' }))],
      options,
    );
    expect(tasks[0]!.exchanges).toHaveLength(10);
    expect(tasks[0]!.exchanges![0]!.reply).toBe(' as it came ');
  });
});
