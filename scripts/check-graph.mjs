// Proves the package graph of docs/architecture: who may import whom, what is declared, what is used, and that
// docs/architecture/packages.md shows it as built. `--write` rewrites that page.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { isMain, root } from './toolchain.mjs';

const scope = '@therapeutic-moe/';

/** The rows of the architecture, the lowest first. A package imports only from rows below its own. */
const rows = [
  ['kernels', 'checkpoint', 'tokenizer', 'safety', 'serve-cache', 'eval', 'memory', 'embedded-model'],
  ['backend'],
  ['nn'],
  ['router', 'attention', 'lora'],
  ['experts'],
  ['model'],
  ['generate', 'trainer'],
  ['server'],
  ['therapeutic-moe'],
];
const tools = ['test-kit', 'bench']; // may import everything; nothing that is published imports them

/** What a package must never import in what it publishes, besides rows above its own. */
const forbidden = {
  checkpoint: /^@tensorflow\//,
  tokenizer: /^@tensorflow\//,
  safety: /^@tensorflow\//,
  'serve-cache': /^@tensorflow\//,
  eval: /^@tensorflow\//,
  memory: /^@tensorflow\//,
  'embedded-model': /^@tensorflow\//,
  server: /^@tensorflow\//,
  model: /^(hono|@hono\/|@therapeutic-moe\/safety)/,
  generate: /^(hono|@hono\/)/,
};

const pageFile = join(root, 'docs', 'architecture', 'packages.md');

/** Reads every workspace package with what its files import. */
export function readPackages() {
  const folders = [
    ...readdirSync(join(root, 'packages'), { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [`packages/${entry.name}`] : [],
    ),
    ...(existsSync(join(root, 'bench', 'package.json')) ? ['bench'] : []),
  ].filter((folder) => existsSync(join(root, folder, 'package.json')));
  return folders.map((folder) => {
    const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const files = ['src', 'web', 'bin', 'test'].flatMap((part) => sourceFiles(join(root, folder, part)));
    const isTest = (file) => /\.test\.tsx?$/.test(file) || file.startsWith(join(root, folder, 'test'));
    return {
      folder,
      name: manifest.name.replace(scope, ''),
      manifest,
      published: files.filter((file) => !isTest(file)).flatMap(importsOf),
      tested: files.filter(isTest).flatMap(importsOf),
    };
  });
}

function sourceFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(
      (entry) =>
        entry.isFile() &&
        /\.(ts|tsx|js|mjs)$/.test(entry.name) &&
        !/[\\/](dist|node_modules)([\\/]|$)/.test(entry.parentPath),
    )
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The bare specifiers a file imports, statically or dynamically, and packages of ours that it resolves. */
function importsOf(file) {
  const code = readFileSync(file, 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
  const pattern = /(?:\bfrom|\bimport|\bimport\(|\bresolve\((?=.@therapeutic-moe))\s*['"]([^'"\s]+)['"]/g;
  return [...code.matchAll(pattern)]
    .map((match) => match[1])
    .filter(
      (specifier) => !/^[./]/.test(specifier) && !specifier.startsWith('node:') && !builtinModules.includes(specifier),
    )
    .map((specifier) => ({
      file: file.slice(root.length + 1),
      specifier,
      name: specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/'),
    }));
}

/** @returns what is wrong, one sentence each. */
export function findFaults(packages) {
  const rootManifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const shared = Object.keys(rootManifest.devDependencies);
  return packages.flatMap((one) => {
    const { manifest } = one;
    const runtime = [
      manifest.name,
      ...['dependencies', 'peerDependencies'].flatMap((kind) => Object.keys(manifest[kind] ?? {})),
    ];
    const any = [...runtime, ...Object.keys(manifest.devDependencies ?? {}), ...shared];
    const browserPart = (file) => file.startsWith(`${one.folder}/web/`); // bundled, so devDependencies suffice
    const faults = [];
    const row = rowOf(one.name);
    if (row === undefined) faults.push(`${one.folder}: it has no row in scripts/check-graph.mjs; give it one.`);
    for (const { file, specifier, name } of one.published) {
      if (!(browserPart(file) ? any : runtime).includes(name) && !tools.includes(one.name)) {
        faults.push(
          `${file}: imports ${name}, which ${one.folder}/package.json does not list under dependencies or peerDependencies.`,
        );
      }
      if (forbidden[one.name]?.test(specifier)) faults.push(`${file}: ${one.name} must never import ${specifier}.`);
      faults.push(...rowFaults(one, row, file, name));
    }
    for (const { file, name } of one.tested) {
      if (!any.includes(name)) faults.push(`${file}: imports ${name}, which ${one.folder}/package.json does not list.`);
    }
    const used = new Set([...one.published, ...one.tested].map(({ name }) => name));
    const published = new Set(one.published.map(({ name }) => name));
    for (const name of workspaceNames(manifest.dependencies)) {
      if (!published.has(name))
        faults.push(`${one.folder}/package.json: depends on ${name}, but nothing in src imports it.`);
    }
    for (const name of workspaceNames(manifest.devDependencies)) {
      if (!used.has(name))
        faults.push(`${one.folder}/package.json: has ${name} under devDependencies, but no test imports it.`);
    }
    return [...new Set(faults)];
  });
}

function workspaceNames(dependencies = {}) {
  return Object.keys(dependencies).filter((name) => dependencies[name].startsWith('workspace:'));
}

function rowFaults(one, row, file, name) {
  if (tools.includes(one.name) || name === one.manifest.name) return [];
  const other = name.replace(scope, '');
  const ours = name.startsWith(scope) || name === 'therapeutic-moe';
  if (!ours) return [];
  if (tools.includes(other)) return [`${file}: imports ${name}, which is for tests only.`];
  const otherRow = rowOf(other);
  if (otherRow === undefined || row === undefined || otherRow < row) return [];
  return [
    `${file}: ${one.name} (row ${row}) imports ${other} (row ${otherRow}); a package imports only from rows below its own.`,
  ];
}

function rowOf(name) {
  if (tools.includes(name)) return rows.length;
  const row = rows.findIndex((names) => names.includes(name));
  return row < 0 ? undefined : row;
}

/** The page with the graph: arrows that other arrows imply are left out of the drawing, the table has them all. */
export function renderPage(packages) {
  const shown = packages.filter(({ name }) => !tools.includes(name));
  const direct = new Map(
    shown.map((one) => [one.name, workspaceNames(one.manifest.dependencies).map((name) => name.replace(scope, ''))]),
  );
  const reaches = (from, to) => (direct.get(from) ?? []).some((next) => next === to || reaches(next, to));
  const arrows = shown.flatMap(({ name }) =>
    direct
      .get(name)
      .filter((to) => !direct.get(name).some((other) => other !== to && reaches(other, to)))
      .map((to) => `  ${name} --> ${to}`),
  );
  const present = rows.map((names) => names.filter((name) => direct.has(name))).reverse();
  const boxes = present.filter((names) => names.length > 0).map((names) => `  ${names.join(' ~~~ ')}`);
  const table = present.flatMap((names) =>
    names.map((name) => {
      const { manifest, folder } = shown.find((one) => one.name === name);
      return `| ${rowOf(name)} | [\`${name}\`](../../${folder}/README.md) | ${manifest.description} | ${
        direct
          .get(name)
          .map((to) => `\`${to}\``)
          .join(', ') || 'nothing of ours'
      } |`;
    }),
  );
  return `---
title: The package graph
---

# The package graph

Generated from the packages' own manifests by \`node scripts/check-graph.mjs --write\`; \`pnpm check:graph\` fails when it is out of date.
A package imports only from rows below its own. Arrows that follow from others are left out of the drawing.

\`\`\`mermaid
graph TD
${[...boxes, ...arrows].join('\n')}
\`\`\`

| row | package | one concern | imports |
|---|---|---|---|
${table.join('\n')}
`;
}

if (isMain(import.meta.url)) {
  const packages = readPackages();
  const page = renderPage(packages);
  if (process.argv.includes('--write')) {
    mkdirSync(join(pageFile, '..'), { recursive: true });
    writeFileSync(pageFile, page);
  }
  const faults = findFaults(packages);
  if (!existsSync(pageFile) || readFileSync(pageFile, 'utf8') !== page) {
    faults.push('docs/architecture/packages.md: out of date; run node scripts/check-graph.mjs --write.');
  }
  for (const fault of faults) console.error(fault);
  console.log(`check-graph: ${packages.length} packages, ${faults.length} faults`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
