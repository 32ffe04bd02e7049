// npm test: sets up, compiles the wasm kernels, runs every test once. Further arguments go to vitest.
// The last line is always `N passed, N failed, N skipped`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setUp } from './setup.mjs';
import { skippedLines } from './skipped-lines.mjs';
import { fail, run } from './toolchain.mjs';

await setUp();
const generate = await run('turbo', ['run', 'generate', '--output-logs=errors-only'], { onLine: () => {} });
if (generate.code !== 0)
  fail(`${generate.output.trim()}\n\ntest: the wasm kernels did not compile.\n0 passed, 1 failed, 0 skipped`);

const folder = mkdtempSync(join(tmpdir(), 'tmoe-test-'));
const summaryFile = join(folder, 'summary.json');
const reporters = ['--reporter=default', '--reporter=./scripts/summary-reporter.mjs'];
const { code } = await run('vitest', ['run', ...reporters, ...process.argv.slice(2)], {
  environment: { TMOE_TEST_SUMMARY: summaryFile },
});
const summary = readSummary();
rmSync(folder, { recursive: true });
if (summary.skippedSuites.length > 0) {
  console.log('Skipped:');
  for (const line of skippedLines(summary.skippedSuites)) console.log(`  ${line}`);
}
if (code !== 0 && summary.failed === 0) summary.failed = 1; // an error outside of any test
console.log(`${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`);
process.exitCode = code === 0 && summary.failed === 0 ? 0 : 1;

function readSummary() {
  try {
    return JSON.parse(readFileSync(summaryFile, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0, skippedSuites: [] };
  }
}
