import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { HubFile } from './hub-files.js';

/** Whether a file on disk has the content that the hub lists; it must have as many bytes. */
export async function hasContent(path: string, { bytes, hash }: HubFile): Promise<boolean> {
  const digest = createHash(hash.kind === 'sha256' ? 'sha256' : 'sha1');
  if (hash.kind === 'git') digest.update(`blob ${bytes}\0`); // what git hashes before a file's content
  for await (const chunk of createReadStream(path)) digest.update(chunk as Buffer);
  return digest.digest('hex') === hash.hex;
}
