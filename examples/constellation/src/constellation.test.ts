import { readFile, rm } from 'node:fs/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { fewSteps } from '../../train-a-preset/test/few-steps.js';
// @ts-expect-error: plain scripts without declarations
import { run } from './constellation.mjs';

afterEach(() => vi.restoreAllMocks());

it('trains, saves and reports', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const options = await fewSteps({});
  const result = await run(options);
  const lines = log.mock.calls.map(([line]) => String(line));
  expect(lines.filter((line) => line.includes("preset 'constellation'"))).toHaveLength(1);
  expect(result.loss.last).toBeLessThan(result.loss.first);
  expect(result.same).toBe(true);
  expect(lines.filter((line) => /^layer \d: \d+ of 32 experts are used/.test(line))).toHaveLength(2);
  expect(await readFile(result.report, 'utf8')).toContain('Load over time');
  expect(lines.at(-1)).toBe(`routing report: ${result.report}`);
  await rm(options.output, { recursive: true });
});
