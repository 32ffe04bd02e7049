import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Shorter pieces of a document are headings and links. */
const SHORTEST_PARAGRAPH = 60;

/** Tables, code and markup. */
const NOT_PROSE = /^[|`<{$]|\n```|\n\|/;

/**
 * Texts to learn from: the rows of a JSONL file, or the paragraphs of this repository's documentation with the folder
 * they come from as their domain.
 *
 * @param {string | undefined} file
 * @returns {{ text: string, domain?: string }[]}
 */
export function readCorpus(file) {
  if (file === undefined) return documents().flatMap(paragraphsOf);
  const rows = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line, i) => (line.trim() === '' ? [] : [readRow(line, `${file}: row ${i + 1}`)]));
  if (rows.length < 20)
    throw new Error(`${file} has ${rows.length} rows; give at least 20, two of which are held out.`);
  return rows;
}

function readRow(line, where) {
  let row;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`${where} is not valid JSON.`); // the parser's own message quotes the row
  }
  if (typeof row?.text !== 'string' || row.text.trim() === '') throw new Error(`${where} has no text.`);
  return typeof row.domain === 'string' ? { text: row.text, domain: row.domain } : { text: row.text };
}

/** Paths of the guides of the repository's folders; other files a checkout may hold are none of ours. */
export function documents() {
  const own = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md'].map((name) => join(root, name)).filter(existsSync);
  return [...own, ...['docs', 'examples', 'packages'].flatMap((folder) => markdownFiles(join(root, folder)))];
}

function markdownFiles(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.') && name !== 'node_modules' && name !== 'dist' && name !== 'api')
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return markdownFiles(path);
      return entry.name.endsWith('.md') ? [path] : [];
    });
}

function paragraphsOf(path) {
  const [top] = relative(root, path).split(sep);
  const domain = ['docs', 'packages', 'examples'].includes(top) ? top : 'project';
  return readFileSync(path, 'utf8')
    .split(/\n{2,}/)
    .map((text) => text.trim())
    .filter((text) => text.length >= SHORTEST_PARAGRAPH && !NOT_PROSE.test(text))
    .map((text) => ({ text, domain }));
}
