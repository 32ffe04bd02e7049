// Links tfjs-node to a TensorFlow before anything of ours is built: `.ci/run` uses it. Users run `therapeutic-moe link-tensorflow`.
import { parseArgs } from 'node:util';
import { fail, run } from './toolchain.mjs';

const { values } = parseArgs({ options: { directory: { type: 'string' }, tensorflow: { type: 'string' } } });
const quiet = { onLine: () => {} };
const build = await run(
  'turbo',
  ['run', 'build', '--filter=@therapeutic-moe/backend', '--output-logs=errors-only'],
  quiet,
);
if (build.code !== 0) fail(`${build.output.trim()}\n\nlink-tensorflow: the build failed; its output stands above.`);
const call = `import { linkTensorflow } from './packages/backend/dist/link-tensorflow.js';
const options = { directory: process.argv[1], tensorflowDirectory: process.argv[2], logger: console };
await linkTensorflow(options).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});`;
const { code } = await run('node', [
  '--input-type=module',
  '-e',
  call,
  values.directory ?? '.',
  ...(values.tensorflow ? [values.tensorflow] : []),
]);
process.exitCode = code;
