import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataset } from './dataset.js';
import { readJsonlDataset } from './jsonl-dataset.js';

const sample = (id: string) => ({ id, input: 'text', target: undefined });

describe('dataset', () => {
  it('refuses to be empty, and refuses rows without an id or with the same one', () => {
    expect(() => dataset('set', [])).toThrow('dataset "set": there are no rows; a score over nothing says nothing.');
    expect(() => dataset('set', [sample('a'), sample('')])).toThrow('dataset "set": row 2 has no id.');
    expect(() => dataset('set', [sample('a'), sample('b'), sample('a')])).toThrow(
      'dataset "set": rows 1 and 3 share an id; every id must be unique.',
    );
    expect(() => dataset(' ', [sample('a')])).toThrow('dataset: name must not be empty.');
  });
});

describe('readJsonlDataset', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'eval-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const read = async (content: string) => {
    const path = join(folder, 'rows.jsonl');
    await writeFile(path, content);
    return readJsonlDataset(path, ({ id, text, domain }) => {
      if (typeof text !== 'string') throw new TypeError(`no text in ${JSON.stringify(id)}`);
      return text === 'skip' ? undefined : { id: String(id), input: text, target: undefined, group: String(domain) };
    });
  };

  it('reads rows, skips empty lines and rows that are left out, and takes the name of the file', async () => {
    const rows = await read(
      '{"id":"a","text":"one","domain":"d"}\r\n\n{"id":"b","text":"skip"}\n{"id":"c","text":"é🫶","domain":"e"}',
    );
    expect(rows.name).toBe('rows.jsonl');
    expect(rows.samples.map(({ id, input, group }) => [id, input, group])).toEqual([
      ['a', 'one', 'd'],
      ['c', 'é🫶', 'e'],
    ]);
  });

  it.each([
    ['{"id":"a","text":"one"}\n\n{"id":"SECRET', 'rows.jsonl: row 3 is not valid JSON.'],
    ['["SECRET"]', 'rows.jsonl: row 1 must be a JSON object.'],
    ['{"id":"SECRET","text":5}', 'rows.jsonl: row 1 could not be made into a sample'],
    ['', 'dataset "rows.jsonl": there are no rows'],
  ])('names the row of %j and never its content', async (content, message) => {
    const error = await read(content).then(
      () => new Error('read'),
      (reason: Error) => reason,
    );
    expect(error.message).toContain(message);
    expect(`${error.message} ${String(error.cause)}`).not.toContain('SECRET');
  });
});
