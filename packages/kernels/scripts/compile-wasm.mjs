// Compiles assembly/ twice, with relaxed SIMD and without, and writes each module as base64 text into src/wasm/generated,
// so that bundlers, browsers and Node load it without a file path.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const asc = join(createRequire(import.meta.url).resolve('assemblyscript/package.json'), '../bin/asc.js');
const target = join(root, 'src/wasm/generated');
const scratch = mkdtempSync(join(tmpdir(), 'kernels-'));

function compile(features) {
  const file = join(scratch, 'module.wasm');
  const options = ['-O3', '--converge', '--runtime', 'stub', '--importMemory', '--noAssert', '--noExportMemory'];
  const limit = ['--maximumMemory', '65536']; // pages, as tfjs declares: a shared memory must name its limit
  execFileSync(process.execPath, [asc, 'assembly/index.ts', '-o', file, ...options, ...limit, '--enable', features], {
    cwd: root,
    stdio: 'inherit',
  });
  const bytes = readFileSync(file);
  if (!WebAssembly.validate(bytes) && features === 'simd')
    throw new Error('compile-wasm: the plain SIMD module is not valid WebAssembly');
  return bytes.toString('base64');
}

mkdirSync(target, { recursive: true });
for (const [name, features] of [
  ['relaxedSimdModule', 'simd,relaxed-simd'],
  ['simdModule', 'simd'],
]) {
  const kebab = name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  const text = compile(features);
  writeFileSync(join(target, `${kebab}.ts`), `export const ${name} =\n  '${text}';\n`);
  console.log(`compile-wasm: ${kebab} ${Math.round((text.length * 3) / 4)} bytes`);
}
rmSync(scratch, { recursive: true });
