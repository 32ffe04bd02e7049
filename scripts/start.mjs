// npm start: sets up, builds what changed, and serves the embedded model. PORT and HOST override the address.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildCommandLine, setUp } from './setup.mjs';
import { fail, root, toolEnvironment } from './toolchain.mjs';

const host = process.env.HOST || '127.0.0.1';
const port = process.env.PORT || '8787';
if (!/^\d+$/.test(port) || Number(port) > 65535) fail(`start: PORT must be a number from 0 to 65535, got '${port}'.`);

await setUp();
console.log('start: building what changed');
const build = await buildCommandLine();
if (build.code !== 0) fail(`${build.output.trim()}\n\nstart: the build failed; its output stands above.`);

const server = spawn(
  'node',
  [join(root, 'packages', 'therapeutic-moe', 'bin', 'therapeutic-moe.js'), 'serve', ...process.argv.slice(2)],
  { cwd: root, env: toolEnvironment({ HOST: host, PORT: port }), stdio: ['inherit', 'pipe', 'inherit'] },
);
// In a terminal Ctrl+C reaches the server by itself; sent on as well it would count as a second one, which ends the server at once.
process.on('SIGINT', () => process.stdin.isTTY || server.kill('SIGINT'));
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => server.kill(signal));
server.on('error', (error) => fail(`start: Node 22 does not start: ${error.message}. Run npm run setup.`));
server.on('close', (code, signal) => process.exit(code ?? (signal === 'SIGINT' || signal === 'SIGTERM' ? 0 : 1)));

// The server itself says when and where it answers; arguments may have moved it away from HOST and PORT.
for await (const line of createInterface({ input: server.stdout })) {
  console.log(line);
  const url = / answers at (http\S+)$/.exec(line)?.[1];
  if (url) console.log(`\n  Talk to it at ${url}   (Ctrl+C stops it)\n`);
}
