// npm start: sets up, builds what changed, and serves the embedded model. PORT and HOST override the address.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setUp } from './setup.mjs';
import { fail, root, run, toolEnvironment } from './toolchain.mjs';

const host = process.env.HOST || '127.0.0.1';
const port = process.env.PORT || '8787';
if (!/^\d+$/.test(port) || Number(port) > 65535) fail(`start: PORT must be a number from 0 to 65535, got '${port}'.`);

await setUp();
console.log('start: building what changed');
const build = await run(
  'turbo',
  ['run', 'build', '--filter=therapeutic-moe', '--output-logs=errors-only', '--log-order=grouped'],
  {
    onLine: (line) => /error|fail/i.test(line) && console.error(line),
    environment: { TMOE_DECLARATIONS: '0' },
  },
);
if (build.code !== 0) fail(`${build.output.trim()}\n\nstart: the build failed; its output stands above.`);

const server = spawn(
  'node',
  [
    join(root, 'packages', 'therapeutic-moe', 'bin', 'therapeutic-moe.js'),
    'serve',
    '--host',
    host,
    '--port',
    port,
    ...process.argv.slice(2),
  ],
  { cwd: root, env: toolEnvironment({ HOST: host, PORT: port }), stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => server.kill(signal));
server.on('error', (error) => fail(`start: Node 22 does not start: ${error.message}. Run npm run setup.`));
server.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' || signal === 'SIGTERM' ? 0 : 1)));
await announce();

/** Prints the address once the server answers. */
async function announce() {
  const shown = host.includes(':') ? `[${host}]` : host;
  const reachable = shown === '0.0.0.0' ? '127.0.0.1' : shown === '[::]' ? '[::1]' : shown;
  while (server.exitCode === null && port !== '0') {
    const answer = await fetch(`http://${reachable}:${port}/health`).catch(() => undefined);
    if (answer?.ok) {
      console.log(`\n  Talk to it at http://${shown}:${port}   (Ctrl+C stops it)\n`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
