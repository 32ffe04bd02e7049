import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it, vi } from 'vitest';
import { runCommandLine } from './run-command-line.js';

const config = fileURLToPath(new URL('../../model/test/fixtures/mixtral-4x-top2/config.json', import.meta.url));

afterEach(() => vi.restoreAllMocks());

/** Runs the command line; returns its exit code and what it printed. */
async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const out = vi.spyOn(console, 'log').mockImplementation(() => {});
  const err = vi.spyOn(console, 'error').mockImplementation(() => {});
  const code = await runCommandLine(words);
  const said = (spy: typeof out) => spy.mock.calls.map((call) => call.join(' ')).join('\n');
  return { code, out: said(out), err: said(err) };
}

it('runs a command and ends with 0', async () => {
  const { code, out } = await run('inspect', '--config', config, '--json');
  expect([code, Object.keys(JSON.parse(out))]).toEqual([0, ['parameters', 'bytes', 'kvBytesPerToken', 'fullSession']]);
});

it('prints its version, the usage, and the usage of a command', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(await run('--version')).toMatchObject({ code: 0, out: version });
  for (const words of [[], ['--help'], ['-h']]) {
    vi.restoreAllMocks();
    const { code, out } = await run(...words);
    expect([words, code, out.includes('link-tensorflow')]).toEqual([words, 0, true]);
  }
  vi.restoreAllMocks();
  const { code, out } = await run('inspect', '--lora-r', '--help');
  expect([code, out.includes('--lora-targets')]).toEqual([0, true]);
});

it('ends with 2 where there is no such command', async () => {
  for (const name of ['sevre', 'toString', '--verbose']) {
    vi.restoreAllMocks();
    const { code, err } = await run(name);
    expect([name, code]).toEqual([name, 2]);
    expect(err).toContain(`there is no command '${name}'; choose one of serve, chat,`);
  }
});

it('ends with 1 and one line where a command fails or is asked wrongly', async () => {
  for (const [words, says] of [
    [['inspect', '--config', 'nowhere.json'], 'therapeutic-moe inspect: nowhere.json cannot be read (ENOENT).'],
    [['inspect', '--config', config, '--lora-r='], 'therapeutic-moe inspect: --lora-r needs a value'],
    [['inspect', '--config', config, '--lora-targets', 'q_proj'], '--lora-targets needs --lora-r'],
    [['chat', '--adapter', 'a', '--adapter', 'b'], 'therapeutic-moe chat: --adapter comes twice; give it once.'],
    [['serve', '9000'], "therapeutic-moe serve: unexpected word '9000'; serve knows --model,"],
    [['serve', '--kept-sessions', '-1'], '--kept-sessions must be a whole number from 0 to 65536'],
    [['chat', '--kv-cache', 'int4'], "--kv-cache must be float32 or int8, got 'int4'."],
    [['chat', '-m', 'folder'], "therapeutic-moe chat: unexpected option '-m'"],
  ] as const) {
    vi.restoreAllMocks();
    const { code, err } = await run(...words);
    expect([words, code]).toEqual([words, 1]);
    expect(err).toContain(says);
    expect(err).not.toContain('\n');
  }
});
