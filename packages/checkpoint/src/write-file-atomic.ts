import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Makes a rename durable. A platform that cannot sync a directory (Windows) makes it durable itself. */
async function syncDirectory(directory: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(directory, 'r');
    await handle.sync();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EPERM' && code !== 'EISDIR' && code !== 'EACCES' && code !== 'EINVAL') throw error;
  } finally {
    await handle?.close();
  }
}

/**
 * Fills a temporary file beside `path`, syncs it, and renames it over `path`: at any moment a reader finds the whole
 * old file or the whole new one. The temporary file is removed if anything fails.
 */
export async function replaceFile<T>(path: string, fill: (file: FileHandle) => Promise<T>): Promise<T> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
  const file = await open(temporary, 'wx');
  try {
    let result: T;
    try {
      result = await fill(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(directory);
    return result;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Writes all of `bytes` at the file's current position. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.length - done, 2 ** 30));
    done += bytesWritten;
  }
}

/**
 * Writes a file so that a crash at any moment leaves the old content or the new, never a part: temporary file in the
 * same folder, fsync, rename, fsync of the folder.
 *
 * @param path the file to make or replace; its folder must exist.
 * @param data text is written as UTF-8.
 * @throws the file system's error; the old file is then untouched.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  await replaceFile(path, (file) => writeAll(file, bytes));
}
