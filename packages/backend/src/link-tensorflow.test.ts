import { mkdir, mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linkTensorflow } from './link-tensorflow.js';

// Stand-ins for TensorFlow, tfjs-node, node-gyp and Node's headers: what is linked and called can be seen without a compiler.
let root = '';
const at = (...parts: string[]) => join(root, ...parts);

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(at(path)), { recursive: true });
  await writeFile(at(path), content);
}

const tfjsNode = 'app/node_modules/@tensorflow/tfjs-node';

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tmoe-link-'));
  await put('site/tensorflow/include/tensorflow/c/c_api.h', '');
  await put('site/tensorflow/libtensorflow_cc.so.2', 'C library');
  await put('site/tensorflow/libtensorflow_framework.so.2', 'framework');
  await put('node/include/node/node_api.h', '');
  await put(`${tfjsNode}/package.json`, '{"name":"@tensorflow/tfjs-node","main":"index.js"}');
  await put(
    `${tfjsNode}/index.js`,
    "exports.ones = () => 1; exports.matMul = () => ({ dataSync: () => [3] }); exports.getBackend = () => 'tensorflow';",
  );
  await put('app/node_modules/node-gyp/package.json', '{"name":"node-gyp"}');
  await put(
    'app/node_modules/node-gyp/bin/node-gyp.js',
    "require('fs').writeFileSync('called', process.argv.slice(2).join('\\n'))",
  );
});
afterEach(() => rm(root, { recursive: true }));

const link = () => linkTensorflow({ directory: at('app'), tensorflowDirectory: at('site'), nodeDirectory: at('node') });

describe.skipIf(process.platform !== 'linux')('linkTensorflow (skipped except on linux)', () => {
  it('links the libraries and headers under the names tfjs-node builds against, twice in a row', async () => {
    await link();
    const linked = await link();
    const library = (name: string) => readFile(at(tfjsNode, 'deps/lib', name), 'utf8');
    expect(await library('libtensorflow.so')).toBe('C library');
    expect(await library('libtensorflow_framework.so')).toBe('framework');
    expect(await readlink(at(tfjsNode, 'deps/include'))).toBe(at('site/tensorflow/include'));
    expect(linked.tensorflowDirectory).toBe(at('site/tensorflow'));
  });

  it('builds with Node-API 8 and the headers given', async () => {
    const { addon } = await link();
    const call = (await readFile(at(tfjsNode, 'called'), 'utf8')).split('\n');
    expect(call[0]).toBe('rebuild');
    expect(call).toContain(`--nodedir=${at('node')}`);
    expect(call).toContain('--napi_build_version=8');
    expect(call).toContain(`--module_path=${dirname(addon)}`);
  });

  it('does not call an addon good that cannot compute', async () => {
    await put(`${tfjsNode}/index.js`, "throw new Error('libcudart.so.12: cannot open shared object file');");
    await expect(link()).rejects.toThrow(/the addon was built but does not work: .*libcudart\.so\.12/);
  });

  it('says what is missing and what to run', async () => {
    await expect(linkTensorflow({ directory: at('nowhere') })).rejects.toThrow(
      'nowhere has no @tensorflow/tfjs-node in its node_modules. Run `npm install @tensorflow/tfjs-node@4.22.0 node-gyp --ignore-scripts` there.',
    );
    await expect(linkTensorflow({ directory: at('app'), tensorflowDirectory: at('node') })).rejects.toThrow(
      'tensorflowDirectory must hold include/ and libtensorflow_framework.so.2',
    );
    await put(
      'app/node_modules/node-gyp/bin/node-gyp.js',
      "console.error('gyp ERR! not found: make'); process.exit(1)",
    );
    await expect(link()).rejects.toThrow('gyp ERR! not found: make');
  });
});
