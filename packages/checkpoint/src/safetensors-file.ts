import { type FileHandle, open } from 'node:fs/promises';
import { dataStartOf, parseHeader, type SafetensorsHeader, type TensorEntry } from './header.js';

/** The most bytes one read asks for; the operating system's limit is 2^31 - 1. */
const READ_BYTES = 2 ** 30;

/** Fills `target` from the file, or says how much was missing. */
async function readFully(handle: FileHandle, target: Uint8Array, position: number, what: string): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, Math.min(target.length - done, READ_BYTES), position + done);
    if (bytesRead === 0) {
      throw new Error(
        `checkpoint: ${what}: expected ${target.length} bytes at ${position}, got ${done}; the file was cut while it was open.`,
      );
    }
    done += bytesRead;
  }
}

/** One open safetensors file: its header in memory, its tensors on disk. */
export class SafetensorsFile {
  private constructor(
    readonly path: string,
    readonly header: SafetensorsHeader,
    private readonly handle: FileHandle,
  ) {}

  /** Opens the file and checks its whole header; nothing of a tensor is read. */
  static async open(path: string): Promise<SafetensorsFile> {
    const handle = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
      throw new Error(
        `checkpoint: ${path}: expected a readable safetensors file, got ${cause.code ?? cause.message}.`,
        {
          cause,
        },
      );
    });
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw new Error(`checkpoint: ${path}: expected a file, got something else.`);
      const prefix = new Uint8Array(Math.min(8, stat.size));
      await readFully(handle, prefix, 0, path);
      const bytes = new Uint8Array(dataStartOf(prefix, stat.size, path));
      await readFully(handle, bytes, 0, path);
      return new SafetensorsFile(path, parseHeader(bytes, stat.size, path), handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Reads one tensor's bytes, and only those. */
  async read(entry: TensorEntry): Promise<Uint8Array> {
    const bytes = new Uint8Array(entry.end - entry.start);
    await readFully(this.handle, bytes, entry.start, `${this.path}: tensor "${entry.name}"`);
    return bytes;
  }

  /** Fills `target` with a tensor's bytes from `offset` on. */
  async readPart(entry: TensorEntry, offset: number, target: Uint8Array): Promise<void> {
    const what = `${this.path}: tensor "${entry.name}"`;
    const size = entry.end - entry.start;
    if (!(offset >= 0 && offset + target.length <= size)) {
      throw new Error(
        `checkpoint: ${what}: expected a part of its ${size} bytes, got ${target.length} from ${offset}.`,
      );
    }
    await readFully(this.handle, target, entry.start + offset, what);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
