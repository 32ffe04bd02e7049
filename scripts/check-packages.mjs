// Packs every public package as it would be published and lints the tarball: publint, and attw for the types.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readPackages } from './check-graph.mjs';
import { fail, pnpm, run } from './toolchain.mjs';

const quiet = { onLine: () => {} };
const build = await run('turbo', ['run', 'build', '--filter=./packages/*', '--output-logs=errors-only'], quiet);
if (build.code !== 0) fail(`${build.output.trim()}\n\ncheck-packages: the build failed; its output stands above.`);

const folder = mkdtempSync(join(tmpdir(), 'tmoe-pack-'));
let faults = 0;
for (const { folder: place, manifest } of readPackages().filter((one) => !one.manifest.private)) {
  // npm pack would ignore publishConfig.exports, which leaves the source condition out
  const packed = await run(pnpm, ['--dir', place, 'pack', '--pack-destination', folder], quiet);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (packed.code !== 0 || !tarball) {
    console.error(`${manifest.name}: pnpm pack failed\n${packed.output.trim()}`);
    faults++;
    continue;
  }
  const path = join(folder, tarball);
  const lints = [
    await run('publint', [path, '--strict'], quiet),
    await run('attw', [path, '--profile', 'esm-only', '--no-emoji', '--format', 'ascii'], quiet),
  ];
  rmSync(path);
  const bad = lints.filter(({ code }) => code !== 0);
  for (const { output } of bad) console.error(`${manifest.name}:\n${output.trim()}`);
  faults += bad.length;
  console.log(`${bad.length === 0 ? 'ok  ' : 'FAIL'} ${manifest.name}`);
}
rmSync(folder, { recursive: true });
console.log(`check-packages: ${faults} faults`);
process.exitCode = faults > 0 ? 1 : 0;
