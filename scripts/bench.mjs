// npm run bench: sets up, builds, runs the comparisons. With --json, only their JSON goes to stdout.
import { setUp } from './setup.mjs';
import { fail, run } from './toolchain.mjs';

const json = process.argv.includes('--json');
await setUp(json ? console.error : console.log);
const filter = '--filter=@therapeutic-moe/bench';
const build = await run('turbo', ['run', 'build', filter, '--output-logs=errors-only'], { onLine: () => {} });
if (build.code !== 0) fail(`${build.output.trim()}\n\nbench: the build failed; its output stands above.`);
const { code } = await run('node', ['bench/dist/main.js', ...process.argv.slice(2)]);
process.exitCode = code;
