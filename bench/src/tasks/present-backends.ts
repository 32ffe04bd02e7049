import { type BackendName, useBackend } from '@therapeutic-moe/backend';

/** The backends that can be measured here: wasm always, TensorFlow where it is installed, WebGPU on a real GPU only. */
export async function presentBackends(): Promise<readonly BackendName[]> {
  const found: BackendName[] = [];
  for (const name of ['wasm', 'tensorflow', 'webgpu'] as const) {
    try {
      const { device } = await useBackend(name);
      if (device?.software) throw new Error('its adapter is software');
      found.push(name);
    } catch (thrown) {
      console.error(`bench: ${name} is not measured: ${(thrown as Error).message}`);
    }
  }
  return found;
}
