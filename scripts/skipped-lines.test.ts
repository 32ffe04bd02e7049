import { expect, it } from 'vitest';
// @ts-expect-error a plain script, without declarations
import { skippedLines } from './skipped-lines.mjs';

const suite = (file: string, name: string) => ({ file, name });

it('gives the suites of a missing backend one line by reason, every name in it, and others a line each', () => {
  const lines = skippedLines([
    suite('packages/attention/src/attention.test.ts', 'Attention on tensorflow (skipped: not named in TMOE_BACKENDS)'),
    suite('packages/attention/src/attention.test.ts', 'Attention on webgpu (skipped: not named in TMOE_BACKENDS)'),
    suite('packages/attention/src/cache.test.ts', 'ConcatKvCache on webgpu (skipped: not named in TMOE_BACKENDS)'),
    suite('packages/nn/src/linear.test.ts', 'Linear on webgpu (skipped: not named in TMOE_BACKENDS)'),
    suite('packages/nn/src/linear.test.ts', 'Linear on cpu (skipped: no (such) thing)'),
    suite('packages/server/test/page.test.ts', 'the chat page (skipped without Chromium)'),
  ]);
  expect(lines).toEqual([
    'not named in TMOE_BACKENDS: 1 suite on tensorflow, 3 on webgpu: attention: Attention, ConcatKvCache; nn: Linear',
    'no (such) thing: 1 suite on cpu: nn: Linear',
    'packages/server/test/page.test.ts: the chat page (skipped without Chromium)',
  ]);
});
