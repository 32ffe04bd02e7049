import { readFile, rm } from 'node:fs/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { fewSteps } from '../../train-a-preset/test/few-steps.js';
// @ts-expect-error: plain scripts without declarations
import { run } from './multi-level-experts.mjs';

afterEach(() => vi.restoreAllMocks());

it('trains, plans the placement of its experts, saves and reports', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const options = await fewSteps({});
  const result = await run(options);
  const lines = log.mock.calls.map(([line]) => String(line));
  expect(lines.filter((line) => line.includes("preset 'multi-level'"))).toEqual([]); // nothing lacks
  expect(lines).toContain(
    'attention: 16 tokens look at 136 + 36 + 10 pairs, 134 % of plain attention; 512 tokens look at 15888 + 32896 + 8256 pairs, 43 % of plain attention',
  );
  expect(result.loss.last).toBeLessThan(result.loss.first);
  expect(result.same).toBe(true);
  expect(result.plans).toHaveLength(4);
  for (const { uniform, byLoad } of result.plans) expect(byLoad.imbalance).toBeLessThanOrEqual(uniform.imbalance);
  expect(await readFile(result.report, 'utf8')).toContain('Load over time');
  expect(lines.at(-1)).toBe(`routing report: ${result.report}`);
  await rm(options.output, { recursive: true });
});
