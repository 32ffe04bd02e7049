// Brings pnpm and all dependencies, Node 22 among them, with nothing but npm and the npm registry. Quick when nothing changed.
// Run directly it also builds the command line, so that `npx therapeutic-moe` works; --no-build leaves that out.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, isMain, pnpm, root, run, toolsDirectory } from './toolchain.mjs';

const stampFile = join(root, 'node_modules', '.setup-stamp');
const unreachable =
  /ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|network|fetch failed|ERR_PNPM_META_FETCH_FAIL/i;

/**
 * Makes the workspace ready.
 *
 * @param log receives progress lines.
 */
export async function setUp(log = console.log) {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    fail(
      `setup: Node 20 or later is needed to start, this is ${process.version}. Install it from your system's packages.`,
    );
  }
  const stamp = describeInputs();
  if (readIfThere(stampFile) === stamp && existsSync(join(root, 'node_modules', '.bin', 'node'))) return;
  await bringPnpm(log);
  await installDependencies(log);
  linkCommandLine();
  writeFileSync(stampFile, stamp);
}

/**
 * Lets `npx therapeutic-moe` find the package's command. A dependency of the root would too, but then turbo counts every package
 * as part of the root, and a change of one rebuilds and retests all.
 */
function linkCommandLine() {
  const link = join(root, 'node_modules', '.bin', 'therapeutic-moe');
  rmSync(link, { force: true });
  symlinkSync('../../packages/therapeutic-moe/bin/therapeutic-moe.js', link);
}

/** A hash over everything an installation depends on. */
function describeInputs() {
  const hash = createHash('sha256');
  const folders = ['packages', 'examples'].flatMap((group) =>
    readdirSync(join(root, group), { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [`${group}/${entry.name}`] : [],
    ),
  );
  const files = [
    'pnpm-lock.yaml',
    'pnpm-workspace.yaml',
    ...['.', 'bench', ...folders.sort()].map((folder) => `${folder}/package.json`),
  ];
  for (const file of files) hash.update(`${file}\0${readIfThere(join(root, file)) ?? ''}\0`);
  return hash.update(process.platform + process.arch).digest('hex');
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** pnpm of exactly the version that package.json names, in a folder of its own. */
async function bringPnpm(log) {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wanted = packageManager.split('@')[1];
  const manifest = readIfThere(join(toolsDirectory, 'node_modules', 'pnpm', 'package.json'));
  if (manifest && JSON.parse(manifest).version === wanted && existsSync(pnpm)) return;
  log(`setup: bringing pnpm ${wanted}`);
  mkdirSync(toolsDirectory, { recursive: true });
  writeFileSync(join(toolsDirectory, 'package.json'), '{ "private": true }\n');
  const flags = ['--prefix', toolsDirectory, '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  const { code, output } = await run('npm', ['install', ...flags, `pnpm@${wanted}`], { onLine: () => {} });
  if (code !== 0) fail(explain('npm could not install pnpm', output));
}

async function installDependencies(log) {
  log('setup: installing dependencies (a minute or so the first time)');
  let last = Date.now();
  const flags = ['install', '--frozen-lockfile', '--reporter=append-only'];
  const onLine = (line) => {
    if (!line.includes('Progress:') || Date.now() - last < 5000) return;
    last = Date.now();
    log(`setup: ${line.slice(line.indexOf('Progress:') + 10)}`);
  };
  const { code, output } = await run(pnpm, flags, { onLine, environment: { CI: '1' } });
  if (code !== 0) fail(explain('pnpm could not install the dependencies', output));
  const node = await run('node', ['--version'], { onLine: () => {} });
  if (!node.output.startsWith('v22.')) {
    fail(
      `setup: the pinned Node 22 did not install (found ${node.output.trim() || 'none'}). Remove node_modules and run npm run setup again.`,
    );
  }
  log('setup: ready');
}

function explain(what, output) {
  const lines = output.trim().split('\n').slice(-15).join('\n');
  const why = unreachable.test(output)
    ? 'The npm registry cannot be reached. Check the network, or the registry and proxy in your .npmrc (npm config get registry).'
    : 'The end of its output stands above.';
  return `${lines}\n\nsetup: ${what}. ${why}`;
}

/**
 * Builds what `npx therapeutic-moe` runs, without declarations; what did not change comes from turbo's cache.
 *
 * @returns the exit code and the output of turbo.
 */
export function buildCommandLine() {
  return run(
    'turbo',
    ['run', 'build', '--filter=therapeutic-moe', '--output-logs=errors-only', '--log-order=grouped'],
    {
      onLine: (line) => /error|fail/i.test(line) && console.error(line),
      environment: { TMOE_DECLARATIONS: '0' },
    },
  );
}

if (isMain(import.meta.url)) {
  await setUp();
  if (!process.argv.includes('--no-build')) {
    console.log('setup: building the command line');
    const { code, output } = await buildCommandLine();
    if (code !== 0) fail(`${output.trim()}\n\nsetup: the build failed; its output stands above.`);
    console.log('setup: npx therapeutic-moe --help works now');
  }
}
