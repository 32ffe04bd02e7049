import {
  absorbLora,
  attachLora,
  detachLora,
  type LoraAdapter,
  loadAdapterWeights,
  readAdapterConfig,
} from '@therapeutic-moe/lora';
import type { CausalLm } from './causal-lm.js';

/**
 * Puts a PEFT adapter on a model.
 *
 * @param directory holds `adapter_config.json` and `adapter_model.safetensors`.
 * @throws when the adapter was made for another model; the model is then as before.
 */
export async function loadAdapter(model: CausalLm, directory: string): Promise<LoraAdapter> {
  const adapter = attachLora(model, await readAdapterConfig(directory), 0);
  try {
    await loadAdapterWeights(adapter, directory);
  } catch (thrown) {
    detachLora(model, adapter);
    throw thrown;
  }
  return adapter;
}

/**
 * Adds an adapter's updates to the base weights for good and puts the plain linears back, so that the model can be
 * saved and served as one.
 */
export function mergeLora(model: CausalLm, adapter: LoraAdapter): void {
  absorbLora(model, adapter);
}
