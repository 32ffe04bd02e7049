import { join } from 'node:path';
import { openCheckpoint } from '@therapeutic-moe/checkpoint';
import { readAdapterConfig } from '@therapeutic-moe/lora';
import { countParameters, type ModelConfig } from '@therapeutic-moe/model';

/**
 * Reads of an adapter what tells at once that it cannot be of this model: its config and the header of its weights. What
 * is in a PEFT folder is checked tensor by tensor when it is loaded; this comes before the model is.
 *
 * @throws when the folder is no adapter, or one of another base.
 */
export async function requireAdapter(directory: string, model: ModelConfig): Promise<void> {
  const lora = await readAdapterConfig(directory);
  const expected = countIn(directory, model, lora);
  const reader = await openCheckpoint(join(directory, 'adapter_model.safetensors'));
  const factors = reader.names.filter((name) => !name.endsWith('.base_layer.weight')); // PEFT's copy of an adapted head
  const numbers = factors.reduce((sum, name) => sum + reader.entry(name).shape.reduce((a, b) => a * b, 1), 0);
  await reader.close();
  if (numbers === expected) return;
  throw new Error(
    `${directory}: the adapter holds ${numbers} numbers, for this model its settings make ${expected}; was it made for another base?`,
  );
}

function countIn(directory: string, model: ModelConfig, lora: Awaited<ReturnType<typeof readAdapterConfig>>): number {
  try {
    return countParameters(model, lora).trainable;
  } catch (cause) {
    throw new Error(`${directory}: the adapter does not fit this model: ${(cause as Error).message}`, { cause });
  }
}
