import { existsSync } from 'node:fs';
import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { beforeAll, describe } from 'vitest';

const all: readonly BackendName[] = ['cpu', 'wasm', 'tensorflow', 'webgpu'];
const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json'; // where Debian's chromium puts it

const requested = requestedBackends(process.env.TMOE_BACKENDS);
const missing = await findMissing();
await useBackend('cpu'); // what tests outside of describeOnBackends run on

/**
 * The backends this test run uses: those that `TMOE_BACKENDS` names (a comma list, or `all`; default `cpu,wasm`) and
 * that work on this machine. `webgpu` falls back to SwiftShader where Debian's chromium is installed.
 */
export function testBackends(): string[] {
  return requested.filter((name) => !missing.has(name));
}

/**
 * Runs a suite once per backend, each active while its tests run. A backend that is not requested or does not work here
 * appears as a skipped suite that says why.
 *
 * @param name what the suite is about; the backend is added to its title.
 * @param define defines the tests; gets the name of the backend.
 */
export function describeOnBackends(name: string, define: (backend: string) => void): void {
  for (const backend of all) {
    const reason = requested.includes(backend) ? missing.get(backend) : 'not named in TMOE_BACKENDS';
    if (reason !== undefined) {
      describe.skip(`${name} on ${backend} (skipped: ${reason})`, () => define(backend));
      continue;
    }
    describe(`${name} on ${backend}`, () => {
      beforeAll(async () => {
        await useBackend(backend);
      });
      define(backend);
    });
  }
}

function requestedBackends(list: string | undefined): readonly BackendName[] {
  if (list === 'all') return all;
  const names = (list || 'cpu,wasm').split(',').map((name) => name.trim());
  for (const name of names) {
    if (!all.includes(name as BackendName)) {
      throw new Error(`TMOE_BACKENDS: '${name}' is not one of ${all.join(', ')}, or all.`);
    }
  }
  return names as BackendName[];
}

/** Tries the backends that may be absent, but only when the run asks for them. */
async function findMissing(): Promise<Map<BackendName, string>> {
  const reasons = new Map<BackendName, string>();
  for (const name of ['tensorflow', 'webgpu'] as const) {
    if (!requested.includes(name)) continue;
    const reason = await reasonAgainst(name);
    if (reason !== undefined) reasons.set(name, reason);
  }
  return reasons;
}

async function reasonAgainst(name: BackendName): Promise<string | undefined> {
  try {
    await useBackend(name);
    return undefined;
  } catch (thrown) {
    if (name === 'webgpu' && !process.env.VK_ICD_FILENAMES && existsSync(swiftShader)) {
      process.env.VK_ICD_FILENAMES = swiftShader;
      return reasonAgainst(name);
    }
    return (thrown as Error).message.replace(/^useBackend: /, '');
  }
}
