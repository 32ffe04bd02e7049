import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PeerMissing } from './comparison.js';
import { findPython, runPythonPeer } from './python-peers.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tmoe-bench-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A stand-in for Python that prints something. */
async function fakePython(script: string): Promise<string> {
  const file = join(folder, 'python');
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
  return file;
}

describe.skipIf(process.platform === 'win32')('Python peers (skipped on Windows)', () => {
  it('are missing, with the way out, where there is no .venv', async () => {
    const search = findPython({ named: undefined, repository: folder });
    await expect(search).rejects.toThrow(PeerMissing);
    await expect(search).rejects.toThrow('--install-peers');
  });

  it('are missing, by name, where a module is not installed, and found where all are', async () => {
    const named = await fakePython('echo transformers');
    await expect(findPython({ named, repository: folder })).rejects.toThrow('has no transformers');
    await fakePython('echo');
    expect(await findPython({ named, repository: folder })).toBe(named);
  });

  it('answer with the last line they print', async () => {
    const python = await fakePython(`echo loading; echo '{"medianMs": 2, "minMs": 1, "maxMs": 3, "repeats": 4}'`);
    expect(await runPythonPeer(python, 'decode', {})).toEqual({ medianMs: 2, minMs: 1, maxMs: 3, repeats: 4 });
  });

  it('can say that something is missing, or fail with the last line of their stderr', async () => {
    await expect(runPythonPeer(await fakePython(`echo '{"missing": "no CUDA"}'`), 'decode', {})).rejects.toThrow(
      PeerMissing,
    );
    const failing = await fakePython('echo Traceback >&2; echo ValueError: bad >&2; exit 1');
    await expect(runPythonPeer(failing, 'decode', {})).rejects.toThrow('ValueError: bad');
  });
});
