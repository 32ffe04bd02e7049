import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error a plain script, without declarations
import { root, toolsDirectory } from './toolchain.mjs';

// Examples run in a folder that can import every package by its name, as a user's project would.
const project = join(toolsDirectory, `readme-examples-${process.pid}`);

interface Readme {
  name: string;
  path: string;
}

const readmes: Readme[] = [
  { name: 'root', path: 'README.md' },
  ...readdirSync(join(root, 'packages')).flatMap((folder) => {
    const manifest = join(root, 'packages', folder, 'package.json');
    if (!existsSync(manifest) || JSON.parse(readFileSync(manifest, 'utf8')).private) return [];
    return [{ name: folder, path: `packages/${folder}/README.md` }];
  }),
];

/** The code of the fence that follows the mark. */
function exampleOf(readme: string): string | undefined {
  return /<!-- example -->\s*```ts\n([\s\S]*?)```/.exec(readme)?.[1];
}

function link(name: string, target: string): void {
  const path = join(project, 'node_modules', name);
  mkdirSync(join(path, '..'), { recursive: true });
  symlinkSync(target, path);
}

beforeAll(() => {
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  for (const folder of readdirSync(join(root, 'packages'))) {
    link(folder === 'therapeutic-moe' ? folder : `@therapeutic-moe/${folder}`, join(root, 'packages', folder));
  }
  const tfjs = join(root, 'packages', 'backend', 'node_modules', '@tensorflow');
  for (const name of readdirSync(tfjs)) link(`@tensorflow/${name}`, join(tfjs, name));
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('the example in the README of', () => {
  it.each(readmes)('$name runs as it stands', async ({ name, path }) => {
    const readme = existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '';
    const code = exampleOf(readme);
    expect(code, `${path} needs a ts fence after the line <!-- example -->`).toBeDefined();
    const lines = (code as string)
      .trim()
      .split('\n')
      .filter((line) => line.trim() !== '');
    expect(lines.length, `${path}: about ten lines are meant`).toBeLessThanOrEqual(24);
    const file = join(project, `${name}.ts`);
    writeFileSync(file, code as string);
    await import(/* @vite-ignore */ file);
  });
});
