import { type BackendName, useBackend } from '@therapeutic-moe/backend';

const measured = ['wasm', 'tensorflow', 'webgpu'] as const;

/**
 * The backends that can be measured here: wasm always, TensorFlow where it is installed, WebGPU on a real GPU only. Why
 * one is not goes to stderr.
 *
 * @throws when the only one asked for is not among them.
 */
export async function presentBackends({ only }: { readonly only?: string }): Promise<readonly BackendName[]> {
  const wanted = measured.filter((name) => only === undefined || name === only);
  if (wanted.length === 0) throw new Error(`bench: --backend ${only} is not one of ${measured.join(', ')}.`);
  const found: BackendName[] = [];
  for (const name of wanted) {
    try {
      const { device } = await useBackend(name);
      if (device?.software) throw new Error('its adapter is software');
      found.push(name);
    } catch (thrown) {
      const { message } = thrown as Error;
      if (only !== undefined) throw new Error(`bench: ${only} cannot be measured: ${message}`, { cause: thrown });
      console.error(`bench: ${name} is not measured: ${message}`);
    }
  }
  return found;
}
