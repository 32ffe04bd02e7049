import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from 'citty';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadModel } from '../load-model.js';
import { routeCommand } from './route.js';
import { readRouteRows } from './route-rows.js';

const names = ['psychology', 'mental_health', 'bias_detection', 'general_therapeutic'];
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'route-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

async function jsonl(name: string, lines: readonly (object | string)[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  return path;
}

/** Runs the command; returns what it prints on standard output and error. */
async function run(...rawArgs: string[]): Promise<{ out: string; err: string }> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const error = vi.spyOn(console, 'error').mockImplementation(() => {});
  await runCommand(routeCommand as never, { rawArgs: ['--backend', 'wasm', ...rawArgs] });
  const text = (spy: typeof log) => spy.mock.calls.map((call) => call.join(' ')).join('\n');
  return { out: text(log), err: text(error) };
}

const long = 'a quiet mind and a walk '.repeat(120); // beyond the model's 512 positions

describe('route', () => {
  it('prints a line per row in order, whose shares sum to 1 and are those of model.routing', async () => {
    const rows = [
      { id: 'b', text: 'I slept badly again.' },
      { id: 7, text: 'What is classical conditioning?', domain: 'science', other: 1 },
      { id: 'long', text: long },
    ];
    const { out, err } = await run('--input', await jsonl('rows.jsonl', ['', ...rows]), '--json');
    const lines = out.split('\n').map((line) => JSON.parse(line));
    expect(lines.map(({ id }) => id)).toEqual(['b', 7, 'long']);
    const model = await loadModel(undefined, { backend: 'wasm' });
    for (const [i, { usage }] of lines.entries()) {
      expect(Object.keys(usage)).toEqual(names);
      expect(Object.values<number>(usage).reduce((a, b) => a + b)).toBeCloseTo(1, 12);
      const shares = await model.routing(rows[i]!.text);
      for (const name of names) expect(usage[name]).toBeCloseTo(shares[name]!, 6);
    }
    expect(err).toContain('route: 3/3 rows');
    model.dispose();
  });

  it('routes a text beyond the context in pieces, so that its end counts too', async () => {
    const model = await loadModel(undefined, { backend: 'wasm' });
    const { ids, layers } = await model.trace(long);
    expect(ids.length).toBeGreaterThan(model.contextLength);
    for (const { indices, probabilities } of layers) {
      expect(indices).toHaveLength(2 * ids.length);
      expect(probabilities).toHaveLength(4 * ids.length);
    }
    model.dispose();
  });

  it('prints a table by domain, and writes a report that holds no text of the input unless it is asked to', async () => {
    const rows = [
      { id: 'row-a', text: 'Zebras xylophone quietly.', domain: 'here' },
      { id: 'row-b', text: 'Another text.' },
    ];
    const input = await jsonl('private.jsonl', rows);
    const { out } = await run('--input', input, '--output', folder);
    expect(out).toMatch(/^here +1 rows {2}/);
    expect(out).toMatch(/^no domain +1 rows {2}/m);
    expect(out).toContain(join(folder, 'routing.html'));
    const plain = await readFile(join(folder, 'routing.html'), 'utf8');
    for (const text of ['>here<', '>no domain<', 'invented by this project', 'private.jsonl', 'Tokens by expert'])
      expect(plain).toContain(text);
    expect(plain).not.toContain('xylo');
    expect(plain).not.toContain('row-a');
    await run('--input', input, '--output', folder, '--show-text', '1', '--json');
    const shown = await readFile(join(folder, 'routing.html'), 'utf8');
    const words = shown.replace(/<[^>]+>/g, '');
    expect(words).toContain('Zebras xylophone quietly.');
    expect(words).not.toContain('Another text.');
  });

  it('refuses a model without experts, and text without a report', async () => {
    const input = await jsonl('one.jsonl', [{ id: '1', text: 'x' }]);
    await expect(run('--input', input, '--show-text', '2')).rejects.toThrow('--show-text needs --output');
    const dense = fileURLToPath(new URL('../../../model/test/fixtures/mistral-tied/', import.meta.url));
    await expect(run('--input', input, '--model', dense)).rejects.toThrow(/tokenizer/);
  });
});

describe('readRouteRows', () => {
  const refuses = async (lines: readonly (object | string)[], says: string) => {
    const failure = await readRouteRows(await jsonl('bad.jsonl', lines)).then(
      () => 'no error',
      (error: Error) => error.message,
    );
    expect(failure).toContain(says);
    expect(failure).not.toContain('secret');
  };

  it('refuses rows by number and field, never quoting them', async () => {
    const good = { id: '1', text: 'x' };
    await refuses([good, '{"id":"2","text":"secret'], 'bad.jsonl: row 2 is not valid JSON.');
    await refuses(['["secret"]'], 'row 1 must be a JSON object with id and text.');
    await refuses(
      [good, '', { text: 'secret' }],
      'row 3: id must be a text that is not empty, or a whole number, got nothing.',
    );
    await refuses(
      [{ id: true, text: 'secret' }],
      'row 1: id must be a text that is not empty, or a whole number, got a value of type boolean.',
    );
    await refuses([{ id: '1' }], 'row 1: text must be a text that is not empty, got nothing.');
    await refuses([{ id: '1', text: ' ' }], 'row 1: text must be a text that is not empty, got an empty text.');
    await refuses([{ id: '1', text: ['secret'] }], 'row 1: text must be a text that is not empty, got a list.');
    await refuses(
      [{ ...good, domain: 5 }],
      'row 1: domain must be a name, or be left out, got a value of type number.',
    );
    await refuses([good, good], 'row 2: id "1" is also that of row 1; give each row its own.');
    await refuses([''], 'bad.jsonl has no rows');
    await expect(readRouteRows(join(folder, 'missing.jsonl'))).rejects.toThrow(
      'missing.jsonl cannot be read (ENOENT).',
    );
  });
});
