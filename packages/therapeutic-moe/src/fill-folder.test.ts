import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fillFolder } from './fill-folder.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fill-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

describe('fillFolder', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('removes what was written when %s ends the process', async (signal) => {
    const listeners = process.listenerCount(signal);
    await writeFile(join(folder, '.gitattributes'), '');
    const [clone, fresh] = [folder, join(folder, '.fresh')];
    for (const output of [fresh, clone]) {
      const left: string[] = [];
      const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
        left.push(`${process.listenerCount(signal)}`);
        return true;
      });
      await fillFolder(output, async () => {
        await mkdir(output, { recursive: true });
        await writeFile(join(output, '.model.safetensors.1-a.tmp'), 'half');
        process.emit(signal, signal);
      });
      expect(kill.mock.calls).toEqual([[process.pid, signal]]);
      expect(left).toEqual([`${listeners}`]); // so that the second signal ends the process
      expect(await readdir(folder)).toEqual(['.gitattributes']);
      vi.restoreAllMocks();
    }
    await fillFolder(folder, async () => {});
    expect(process.listenerCount(signal)).toBe(listeners);
  });

  it('does not take what a killed run left for harmless', async () => {
    await writeFile(join(folder, '.model.safetensors.1-a.tmp'), 'half');
    await expect(fillFolder(folder, async () => {})).rejects.toThrow(
      'is not empty: it holds .model.safetensors.1-a.tmp.',
    );
  });
});
