import { fileURLToPath } from 'node:url';
import { runCommand } from 'citty';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { inspectCommand } from './inspect.js';
import { logitsCommand } from './logits.js';

const fixture = fileURLToPath(new URL('../../../model/test/fixtures/mixtral-4x-top2/', import.meta.url));
const config = ['--config', `${fixture}config.json`];

async function run(command: typeof logitsCommand | typeof inspectCommand, ...rawArgs: string[]): Promise<string> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.spyOn(console, 'error').mockImplementation(() => {});
  await runCommand(command as never, { rawArgs });
  return log.mock.calls.map((call) => call.join(' ')).join('\n');
}

afterEach(() => vi.restoreAllMocks());

describe('inspect --precision', () => {
  it('prints what training and serving take, and whether each fits', async () => {
    const lora = ['--lora-r', '4', '--seq', '13', '--serve-tokens', '17'];
    const { plan } = JSON.parse(await run(inspectCommand, ...config, '--precision', 'bfloat16', ...lora, '--json'));
    expect(plan.options).toEqual({ weights: 'bfloat16', batch: 1, seq: 13, serveTokens: 17 });
    expect(plan.card).toBe(80e9);
    vi.restoreAllMocks();
    const text = await run(inspectCommand, ...config, '--precision', 'bfloat16', ...lora, '--card', '0.0001GB');
    expect(text).toContain(`weights       ${plan.weights.toLocaleString('en').padStart(16)}  matrices bfloat16`);
    expect(text).toContain('training 1 x 13 tokens');
    expect(text).toContain(`does not fit 100,000, ${(plan.training.total - 1e5).toLocaleString('en')} too many`);
    expect(text).toContain('all of one; not implemented');
    expect(text).toContain('serving 17 tokens');
  });

  it('says that frozen weights need an adapter to be trained', async () => {
    const text = await run(inspectCommand, ...config, '--precision', 'int8');
    expect(text).toContain('not possible: int8 weights are frozen; --lora-r plans an adapter on them');
  });

  it('refuses sizes and types that are none, and options of a plan without one', async () => {
    await expect(run(inspectCommand, ...config, '--precision', 'int4')).rejects.toThrow(
      "--precision must be float32, bfloat16, float16, int8, got 'int4'.",
    );
    await expect(run(inspectCommand, ...config, '--seq', '3')).rejects.toThrow('--seq needs --precision');
    await expect(run(inspectCommand, ...config, '--precision', 'int8', '--card', '80')).rejects.toThrow(
      "--card must be a size such as 80GB (80e9 bytes) or 24GiB, got '80'.",
    );
  });
});

describe('logits --precision', () => {
  it('answers with rounded weights, with an adapter beside them', async () => {
    const given = [
      '--model',
      fixture,
      '--ids',
      '5,6,7',
      '--backend',
      'wasm',
      '--adapter',
      `${fixture}adapter`,
      '--json',
    ];
    const exact = JSON.parse(await run(logitsCommand, ...given)).logits as number[];
    vi.restoreAllMocks();
    const rounded = JSON.parse(await run(logitsCommand, ...given, '--precision', 'int8')).logits as number[];
    const far = Math.max(...exact.map((value, i) => Math.abs(value - rounded[i]!)));
    expect(far).toBeGreaterThan(0);
    expect(far).toBeLessThan(0.05 * Math.max(...exact.map(Math.abs)));
  });
});
