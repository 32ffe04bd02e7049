import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
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
    await expect(search).rejects.toThrow('--no-install-peers');
  });

  it('are found in a .venv that is made where there is none', async () => {
    const made: string[] = [];
    const install = async (repository: string) => {
      made.push(repository);
      await mkdir(join(repository, '.venv', 'bin'), { recursive: true });
      await rename(await fakePython('echo'), join(repository, '.venv', 'bin', 'python'));
    };
    const places = { named: undefined, repository: folder, install };
    expect(await findPython(places)).toBe(join(folder, '.venv', 'bin', 'python'));
    expect(await findPython(places)).toContain('.venv');
    expect(made).toEqual([folder]); // once
  });

  it('are missing, with the reason, where .venv cannot be made, and a named Python is left as it is', async () => {
    const install = async () => {
      throw new Error('bench: pip failed');
    };
    await expect(findPython({ named: undefined, repository: folder, install })).rejects.toThrow(
      /no \.venv.*could not be made: bench: pip failed/,
    );
    await expect(findPython({ named: join(folder, 'absent'), repository: folder, install })).rejects.toThrow(
      /TMOE_PEERS_PYTHON names .*absent, which does not exist/,
    );
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
