// pnpm check: format, lint, types, graph, tests, package lint, in this order, with a summary. Each also runs alone.
import { setUp } from './setup.mjs';
import { run } from './toolchain.mjs';

const steps = [
  ['format', 'biome', ['format', '.']],
  ['lint', 'biome', ['lint', '.', '--error-on-warnings']],
  ['unused', 'knip', []],
  ['generate', 'turbo', ['run', 'generate', '--output-logs=errors-only']],
  ['types', 'tsc', ['--noEmit']],
  ['types of the chat page', 'tsc', ['--noEmit', '-p', 'packages/server/web']],
  ['graph', 'node', ['scripts/check-graph.mjs']],
  ['tests', 'node', ['scripts/test.mjs']],
  ['packages', 'node', ['scripts/check-packages.mjs']],
];

await setUp();
const results = [];
for (const [name, command, commandArguments] of steps) {
  console.log(`\ncheck: ${name}`);
  const started = Date.now();
  const { code } = await run(command, commandArguments);
  results.push({ name, ok: code === 0, seconds: ((Date.now() - started) / 1000).toFixed(1) });
}
console.log('');
for (const { name, ok, seconds } of results) console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
