import { LoraLinear, LoraStackedLinear } from '@therapeutic-moe/lora';
import type { CausalLm } from './causal-lm.js';

/** Refuses a model with an adapter on it. @param refusal what to say of the first path that carries one. */
export function refuseAdapters(model: CausalLm, refusal: (path: string) => string): void {
  const layers = [...model.linears()].map(([path, { layer }]) => [path, layer] as const);
  for (const [path, layer] of [...layers, ...model.stacks()])
    if (layer instanceof LoraLinear || layer instanceof LoraStackedLinear) throw new Error(refusal(path));
}
