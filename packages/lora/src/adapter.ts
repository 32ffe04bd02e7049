import type * as tf from '@tensorflow/tfjs-core';
import { Linear, type LinearLayer, type Parameters, seedFor } from '@therapeutic-moe/nn';
import { type LoraConfig, resolveLoraConfig } from './lora-config.js';
import { LoraLinear } from './lora-linear.js';
import { planLora } from './lora-plan.js';

/** A model whose linears can be looked up and replaced by path. */
export interface LinearHost {
  linears(): ReadonlyMap<string, LinearLayer>;
  replaceLinear(path: string, layer: LinearLayer): void;
}

/** One adapter on one model: the wrapped linears by path. */
export class LoraAdapter {
  constructor(
    readonly config: LoraConfig,
    readonly layers: ReadonlyMap<string, LoraLinear>,
  ) {}

  /** What is trained: `{path}.lora_A`, `{path}.lora_B`, and with DoRA `{path}.lora_magnitude_vector`. */
  parameters(): Parameters {
    const factors = new Map<string, tf.Variable>();
    for (const [path, layer] of this.layers)
      for (const [name, factor] of layer.factors()) factors.set(`${path}.${name}`, factor);
    return factors;
  }

  /** Makes every base weight what the adapter makes of it. */
  merge(): void {
    for (const layer of this.layers.values()) layer.merge();
  }

  /** Puts every base weight back, bit for bit. */
  unmerge(): void {
    for (const layer of this.layers.values()) layer.unmerge();
  }
}

/**
 * Wraps every linear of the host that `targetModules` fits.
 *
 * @param seed the same seed gives the same adapter.
 * @returns the adapter; its layers now belong to the host and are disposed with it.
 * @throws when a target names no linear of the host or one that is adapted already, or a pattern fits nothing.
 */
export function attachLora(host: LinearHost, config: Partial<LoraConfig>, seed: number): LoraAdapter {
  const resolved = resolveLoraConfig(config);
  const linears = host.linears();
  const plan = planLora('attachLora', linears.keys(), resolved);
  const bases = new Map<string, Linear>();
  for (const path of plan.keys()) {
    const linear = linears.get(path);
    if (!(linear instanceof Linear))
      throw new Error(`attachLora: ${path} has an adapter already; merge or detach it first.`);
    bases.set(path, linear);
  }
  const layers = new Map<string, LoraLinear>();
  for (const [path, base] of bases) {
    const layer = new LoraLinear(base, plan.get(path)!, seedFor(seed, path));
    layers.set(path, layer);
    host.replaceLinear(path, layer);
  }
  return new LoraAdapter(resolved, layers);
}

/** Takes an adapter off its host for good: base weights as they were before it, factors freed. */
export function detachLora(host: LinearHost, adapter: LoraAdapter): void {
  for (const [path, layer] of adapter.layers) {
    if (layer.merged) layer.unmerge();
    host.replaceLinear(path, layer.release());
  }
}
