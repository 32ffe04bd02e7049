import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** One file of the built chat page. */
export interface PageFile {
  bytes: Uint8Array<ArrayBuffer>;
  contentType: string;
}

/** The chat page's files by URL path (`/` is the page itself); empty when it has not been built. */
export type PageFiles = ReadonlyMap<string, PageFile>;

const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};

/** Where the package's build puts the page, seen from `dist/` and from `src/`. */
const builtFolders = ['./web/', '../dist/web/'].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));

/**
 * Reads the built chat page into memory. Only files found here can ever be served, so no request reaches the disk.
 *
 * @param folder where the build is; absent looks in this package.
 */
export async function readWebPage(folder?: string): Promise<PageFiles> {
  for (const candidate of folder === undefined ? builtFolders : [folder]) {
    const files = await readFolder(candidate);
    if (files.has('/')) return files;
  }
  return new Map();
}

async function readFolder(folder: string): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const contentType = contentTypes[extname(entry.name)];
    if (!entry.isFile() || contentType === undefined) continue;
    const file = join(entry.parentPath, entry.name);
    const path = `/${relative(folder, file).split(sep).join('/')}`;
    files.set(path === '/index.html' ? '/' : path, { bytes: new Uint8Array(await readFile(file)), contentType });
  }
  return files;
}
