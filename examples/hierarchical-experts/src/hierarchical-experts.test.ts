import { readFile, rm } from 'node:fs/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { fewSteps } from '../../train-a-preset/test/few-steps.js';
// @ts-expect-error: plain scripts without declarations
import { run } from './hierarchical-experts.mjs';

afterEach(() => vi.restoreAllMocks());

it('trains, prunes, saves and reports', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const options = await fewSteps({});
  const result = await run(options);
  const lines = log.mock.calls.map(([line]) => String(line));
  expect(lines.filter((line) => line.includes("preset 'hierarchical'"))).toHaveLength(0); // it lacks nothing of its design
  expect(result.loss.last).toBeLessThan(result.loss.first);
  expect(result.same).toBe(true);
  expect(result.cost.after).toBeGreaterThan(0);
  expect(lines.filter((line) => /^layer \d: load .* stay, .* go elsewhere$/.test(line))).toHaveLength(2);
  expect(lines.filter((line) => /^layer \d: attention mixes its domains( \d+ %,){3} \d+ %$/.test(line))).toHaveLength(
    2,
  );
  expect(await readFile(result.report, 'utf8')).toContain('Load over time');
  expect(lines.at(-1)).toBe(`routing report: ${result.report}`);
  await rm(options.output, { recursive: true });
});
