import { describe, expect, it } from 'vitest';
// @ts-expect-error a plain script, without declarations
import { findFaults, readPackages, renderPage } from './check-graph.mjs';

interface Import {
  file: string;
  specifier: string;
  name: string;
}

/** A package as readPackages gives it, of which only what a test is about is filled in. */
function makePackage(name: string, manifest: object, imports: { published?: string[]; tested?: string[] } = {}) {
  const at =
    (file: string) =>
    (specifier: string): Import => ({ file: `packages/${name}/src/${file}`, specifier, name: specifier });
  return {
    folder: `packages/${name}`,
    name,
    manifest: { name: `@therapeutic-moe/${name}`, description: `${name}.`, ...manifest },
    published: (imports.published ?? []).map(at('a.ts')),
    tested: (imports.tested ?? []).map(at('a.test.ts')),
  };
}

const workspace = (...names: string[]) =>
  Object.fromEntries(names.map((name) => [`@therapeutic-moe/${name}`, 'workspace:^']));

describe('findFaults', () => {
  it('accepts an import from a lower row that is declared', () => {
    const one = makePackage('router', { dependencies: workspace('nn') }, { published: ['@therapeutic-moe/nn'] });
    expect(findFaults([one])).toEqual([]);
  });

  it('refuses an import from the same row and from above', () => {
    const sideways = makePackage(
      'router',
      { dependencies: workspace('lora') },
      { published: ['@therapeutic-moe/lora'] },
    );
    const upwards = makePackage(
      'trainer',
      { dependencies: workspace('server') },
      { published: ['@therapeutic-moe/server'] },
    );
    expect(findFaults([sideways])[0]).toContain(
      'router (row 3) imports lora (row 3); a package imports only from rows below its own',
    );
    expect(findFaults([upwards])[0]).toContain('trainer (row 6) imports server (row 7)');
  });

  it('refuses tensors where they must never be', () => {
    const one = makePackage(
      'safety',
      { peerDependencies: { '@tensorflow/tfjs-core': '4.22.0' } },
      { published: ['@tensorflow/tfjs-core'] },
    );
    expect(findFaults([one])).toEqual(['packages/safety/src/a.ts: safety must never import @tensorflow/tfjs-core.']);
  });

  it('refuses what is not declared, what is for tests only, and what is declared but not used', () => {
    const undeclared = makePackage('nn', { devDependencies: { zod: '^4.0.0' } }, { published: ['zod'] });
    const testsOnly = makePackage(
      'nn',
      { dependencies: workspace('test-kit') },
      { published: ['@therapeutic-moe/test-kit'] },
    );
    const unused = makePackage('nn', { dependencies: workspace('kernels'), devDependencies: workspace('test-kit') });
    expect(findFaults([undeclared])).toEqual([
      'packages/nn/src/a.ts: imports zod, which packages/nn/package.json does not list under dependencies or peerDependencies.',
    ]);
    expect(findFaults([testsOnly])[0]).toContain('@therapeutic-moe/test-kit, which is for tests only');
    expect(findFaults([unused])).toHaveLength(2);
  });

  it('refuses a package without a row', () => {
    expect(findFaults([makePackage('helpers', {})])[0]).toContain('packages/helpers: it has no row');
  });
});

describe('readPackages', () => {
  it('finds the imports of real files, without those in comments', () => {
    const backend = readPackages().find(({ name }: { name: string }) => name === 'backend');
    const names = backend?.published.map((one: Import) => one.name) ?? [];
    expect(names).toContain('@tensorflow/tfjs-backend-wasm'); // a dynamic import
    expect(names).toContain('@therapeutic-moe/kernels');
    expect(backend?.tested.map((one: Import) => one.name)).toContain('@therapeutic-moe/test-kit');
  });
});

describe('renderPage', () => {
  it('draws only the arrows that do not follow from others, and lists all', () => {
    const page = renderPage([
      makePackage('kernels', {}),
      makePackage('nn', { dependencies: workspace('kernels') }),
      makePackage('router', { dependencies: workspace('kernels', 'nn') }),
    ]);
    expect(page).toContain('router --> nn');
    expect(page).not.toContain('router --> kernels');
    expect(page).toContain('| `kernels`, `nn` |');
  });
});
