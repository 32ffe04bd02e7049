import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from './backend-report.js';

const run = promisify(execFile);

/** Options of {@link linkTensorflow}. */
export interface LinkTensorflowOptions {
  /**
   * The folder `tensorflow` of a pip installation, or of an unzipped wheel: the one that holds `include` and
   * `libtensorflow_framework.so.2`; the folder above it will do too. Default: looked for in the site-packages of
   * `python3`, without importing anything.
   */
  tensorflowDirectory?: string;
  /** A folder whose `node_modules` has `@tensorflow/tfjs-node` and, unless installed elsewhere, `node-gyp`. Default: `TMOE_TFJS_NODE` or the working directory. */
  directory?: string;
  /** A prefix with `include/node`, the headers of Node. Default: that of the running Node, or `/usr`. */
  nodeDirectory?: string;
  /** Receives a line per step. */
  logger?: Logger;
}

/** What was linked and built. */
export interface LinkedTensorflow {
  /** The TensorFlow folder that the addon now uses. It must stay where it is. */
  tensorflowDirectory: string;
  /** The tfjs-node package whose addon was built. */
  tfjsNode: string;
  /** The built addon. */
  addon: string;
}

/**
 * Builds tfjs-node's native addon against the C libraries of a TensorFlow that pip installed, by links: nothing of
 * TensorFlow is copied or downloaded. This gives tfjs-node a current TensorFlow, and with a GPU build of it a current
 * CUDA runtime, which its own bundle predates. The wheel's Python version does not matter. Linux only.
 *
 * @returns where everything lies; `useBackend('tensorflow')` finds it when `TMOE_TFJS_NODE` names `directory`.
 * @throws Error when TensorFlow, tfjs-node, node-gyp, Node's headers or a C++ compiler is missing, saying which.
 */
export async function linkTensorflow(options: LinkTensorflowOptions = {}): Promise<LinkedTensorflow> {
  if (process.platform !== 'linux') {
    throw new Error(
      `linkTensorflow: works on linux only, got ${process.platform}; install @tensorflow/tfjs-node there.`,
    );
  }
  const directory = resolve(options.directory ?? process.env.TMOE_TFJS_NODE ?? '.');
  const log = (message: string) => options.logger?.info(message);
  const tfjsNode = findTfjsNode(directory);
  const tensorflowDirectory = await findTensorflow(options.tensorflowDirectory);
  const nodeGyp = findNodeGyp(directory);
  const nodeDirectory = findNodeHeaders(options.nodeDirectory);
  log(`TensorFlow: ${tensorflowDirectory}`);
  await linkDependencies(tfjsNode, tensorflowDirectory);
  log(`building the addon of ${tfjsNode} (about half a minute)`);
  const addon = await buildAddon(tfjsNode, nodeGyp, nodeDirectory);
  log(`built ${addon}`);
  await tryAddon(tfjsNode);
  return { tensorflowDirectory, tfjsNode, addon };
}

function findTfjsNode(directory: string): string {
  const from = createRequire(join(directory, 'package.json'));
  for (const name of ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node']) {
    try {
      return dirname(from.resolve(`${name}/package.json`));
    } catch {
      // the next name, then the error below
    }
  }
  throw new Error(
    `linkTensorflow: ${directory} has no @tensorflow/tfjs-node in its node_modules. ` +
      'Run `npm install @tensorflow/tfjs-node@4.22.0 node-gyp --ignore-scripts` there.',
  );
}

async function findTensorflow(given: string | undefined): Promise<string> {
  if (given !== undefined) {
    const found = [given, join(given, 'tensorflow')].map((path) => resolve(path)).find(isTensorflow);
    if (found) return found;
    throw new Error(
      `linkTensorflow: tensorflowDirectory must hold include/ and libtensorflow_framework.so.2, got ${resolve(given)}. ` +
        'Give the folder `tensorflow` of a pip installation or of an unzipped wheel, version 2.x.',
    );
  }
  const sites = await sitePackages();
  const found = sites.map((site) => join(site, 'tensorflow')).find(isTensorflow);
  if (found) return found;
  throw new Error(
    `linkTensorflow: no TensorFlow in ${sites.join(', ') || 'the site-packages of python3 (python3 does not run)'}. ` +
      'Run `pip install --no-deps tensorflow-cpu==2.21.0` (or `tensorflow[and-cuda]` for a GPU), or give tensorflowDirectory.',
  );
}

function isTensorflow(directory: string): boolean {
  return (
    existsSync(join(directory, 'include', 'tensorflow', 'c', 'c_api.h')) &&
    existsSync(join(directory, 'libtensorflow_framework.so.2'))
  );
}

async function sitePackages(): Promise<string[]> {
  const virtual = process.env.VIRTUAL_ENV;
  const python = virtual ? join(virtual, 'bin', 'python3') : 'python3';
  const code =
    'import site, sys; print("\\n".join(dict.fromkeys(p for p in sys.path + [site.getusersitepackages()] if p)))';
  try {
    const { stdout } = await run(python, ['-c', code]);
    return stdout.split('\n').filter((line) => line.endsWith('-packages'));
  } catch {
    return [];
  }
}

function findNodeGyp(directory: string): string {
  const bundled = join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm');
  for (const place of [directory, bundled, '/usr/lib/node_modules/npm', '/usr/share/nodejs']) {
    try {
      return createRequire(join(place, 'package.json')).resolve('node-gyp/bin/node-gyp.js');
    } catch {
      // the next place, then the error below
    }
  }
  throw new Error(`linkTensorflow: node-gyp is not installed in ${directory}. Run \`npm install node-gyp\` there.`);
}

function findNodeHeaders(given: string | undefined): string {
  const places = given === undefined ? [join(dirname(process.execPath), '..'), '/usr', '/usr/local'] : [given];
  const found = places
    .map((place) => resolve(place))
    .find((place) => existsSync(join(place, 'include', 'node', 'node_api.h')));
  if (found) return found;
  throw new Error(
    `linkTensorflow: no include/node/node_api.h under ${places.join(', ')}. Install Node's headers (Debian: libnode-dev) ` +
      'and give their prefix as nodeDirectory; the addon uses Node-API, so the headers of another Node will do.',
  );
}

/** Puts links where tfjs-node's build looks for libtensorflow. The wheel calls the C library `libtensorflow_cc`. */
async function linkDependencies(tfjsNode: string, tensorflow: string): Promise<void> {
  const library = (await readdir(tensorflow)).includes('libtensorflow_cc.so.2') ? 'libtensorflow_cc' : 'libtensorflow';
  const dependencies = join(tfjsNode, 'deps');
  const links: [path: string, target: string][] = [
    [join(dependencies, 'include'), join(tensorflow, 'include')],
    [join(dependencies, 'lib', `${library}.so.2`), join(tensorflow, `${library}.so.2`)],
    [join(dependencies, 'lib', 'libtensorflow_framework.so.2'), join(tensorflow, 'libtensorflow_framework.so.2')],
    [join(dependencies, 'lib', 'libtensorflow.so'), `${library}.so.2`],
    [join(dependencies, 'lib', 'libtensorflow_framework.so'), 'libtensorflow_framework.so.2'],
  ];
  await mkdir(join(dependencies, 'lib'), { recursive: true });
  for (const [path, target] of links) {
    if (await lstat(path).catch(() => undefined)) await rm(path, { recursive: true });
    await symlink(target, path);
  }
}

async function buildAddon(tfjsNode: string, nodeGyp: string, nodeDirectory: string): Promise<string> {
  const modulePath = join(tfjsNode, 'lib', 'napi-v8');
  const flags = [
    `--nodedir=${nodeDirectory}`,
    '--module_name=tfjs_binding',
    `--module_path=${modulePath}`,
    '--napi_version=8',
    '--napi_build_version=8',
  ];
  try {
    await run(process.execPath, [nodeGyp, 'rebuild', ...flags], { cwd: tfjsNode, maxBuffer: 1 << 26 });
  } catch (thrown) {
    const output = String((thrown as { stderr?: string }).stderr ?? '');
    const last = output
      .split('\n')
      .filter((line) => /error|not found/i.test(line))
      .slice(0, 3)
      .join(' | ');
    throw new Error(
      `linkTensorflow: node-gyp failed in ${tfjsNode}: ${last || 'no message'}. It needs python3, make and g++.`,
      {
        cause: thrown,
      },
    );
  }
  return join(modulePath, 'tfjs_binding.node');
}

/** Loads the addon in a process of its own: a library that is missing at run time shows here, not in the first use. */
async function tryAddon(tfjsNode: string): Promise<void> {
  const code =
    "const util = require('node:util'); util.isNullOrUndefined = (v) => v == null; util.isArray = Array.isArray;" +
    `const tf = require(${JSON.stringify(tfjsNode)}); const p = tf.matMul(tf.ones([2, 3]), tf.ones([3, 5]));` +
    "if (tf.getBackend() !== 'tensorflow' || p.dataSync()[0] !== 3) process.exit(3); process.exit(0);";
  try {
    await run(process.execPath, ['-e', code], {
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' },
    });
  } catch (thrown) {
    const output = String((thrown as { stderr?: string }).stderr ?? '')
      .split('\n')
      .find((line) => /Error|cannot/.test(line));
    throw new Error(`linkTensorflow: the addon was built but does not work: ${output ?? (thrown as Error).message}`, {
      cause: thrown,
    });
  }
}
