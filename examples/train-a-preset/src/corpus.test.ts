import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error: plain scripts without declarations
import { readCorpus } from './corpus.mjs';
// @ts-expect-error: plain scripts without declarations
import { readOptions } from './options.mjs';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'corpus-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('readCorpus', () => {
  it("is the prose of this repository's documentation, by the folder it comes from", () => {
    const rows: { text: string; domain: string }[] = readCorpus(undefined);
    expect(rows.length).toBeGreaterThan(150);
    expect(new Set(rows.map(({ domain }) => domain))).toEqual(new Set(['docs', 'examples', 'packages', 'project']));
    for (const { text } of rows) expect(text).not.toMatch(/^[|`]/);
  });

  it('reads rows of a file, and names a bad one by number, never by content', async () => {
    const file = join(folder, 'rows.jsonl');
    const good = Array.from({ length: 20 }, (_, i) => JSON.stringify({ text: `text ${i}`, domain: 'a' }));
    await writeFile(file, good.join('\n'));
    expect(readCorpus(file)[3]).toEqual({ text: 'text 3', domain: 'a' });
    await writeFile(file, [...good, '{"text":"secret'].join('\n'));
    expect(() => readCorpus(file)).toThrow(/rows\.jsonl: row 21 is not valid JSON\.$/);
    await writeFile(file, [...good, '{"word":"secret"}'].join('\n'));
    expect(() => readCorpus(file)).toThrow(/row 21 has no text\.$/);
    await writeFile(file, good.slice(1).join('\n'));
    expect(() => readCorpus(file)).toThrow('has 19 rows; give at least 20');
  });
});

describe('readOptions', () => {
  it('has defaults, and refuses steps that are no number and options that it does not know', () => {
    expect(readOptions('x', ['--output', folder])).toEqual({
      data: undefined,
      steps: 200,
      backend: 'auto',
      output: folder,
    });
    expect(() => readOptions('x', ['--steps', 'many'])).toThrow(
      "--steps must be a whole number of at least 2, got 'many'",
    );
    expect(() => readOptions('x', ['--stpes', '3'])).toThrow('--stpes');
  });
});
