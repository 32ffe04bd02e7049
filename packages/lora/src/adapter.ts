import type * as tf from '@tensorflow/tfjs-core';
import { type LinearLayer, type Parameters, seedFor } from '@therapeutic-moe/nn';
import { type AdapterSwitch, adapterSwitch, baseOf, type LinearHost, type LinearSlot } from './linear-host.js';
import { type LoraConfig, resolveLoraConfig } from './lora-config.js';
import { LoraLinear } from './lora-linear.js';
import { planLora } from './lora-plan.js';
import { LoraUpdate } from './lora-update.js';

/** One adapter on one model: what it does to each adapted linear, by path. */
export class LoraAdapter {
  /** @param linears the layers that its updates lie on. */
  constructor(
    readonly name: string,
    readonly config: LoraConfig,
    readonly layers: ReadonlyMap<string, LoraUpdate>,
    readonly linears: ReadonlySet<LoraLinear>,
  ) {}

  /** Whether the base weights are what the adapter makes of them. */
  get merged(): boolean {
    return [...this.linears].some((linear) => linear.merged.has(this.name));
  }

  /** What is trained: `{path}.lora_A`, `{path}.lora_B`, and with DoRA `{path}.lora_magnitude_vector`. */
  parameters(): Parameters {
    const factors = new Map<string, tf.Variable>();
    for (const [path, update] of this.layers)
      for (const [name, factor] of update.factors()) factors.set(`${path}.${name}`, factor);
    return factors;
  }

  /** Makes every base weight what the adapter makes of it. */
  merge(): void {
    for (const linear of this.linears) linear.merge(this.name);
  }

  /** Puts every base weight back, bit for bit. */
  unmerge(): void {
    for (const linear of this.linears) linear.unmerge(this.name);
  }
}

/**
 * Puts an adapter on every linear of the host that `targetModules` fits, beside those that are there, and switches it on.
 *
 * @param seed the same seed gives the same adapter.
 * @param name tells adapters of one host apart.
 * @returns the adapter; its updates now belong to the host and are disposed with it.
 * @throws when the name is taken, a target names no linear of the host, or a pattern fits nothing.
 */
export function attachLora(host: LinearHost, config: Partial<LoraConfig>, seed: number, name = 'default'): LoraAdapter {
  const resolved = resolveLoraConfig(config);
  const slots = host.linears();
  const plan = planLora('attachLora', slots.keys(), resolved);
  const state = adapterSwitch(host) ?? { adapters: new Map<string, LoraAdapter>(), active: [] };
  if (state.adapters.has(name))
    throw new Error(
      `attachLora: the model has an adapter '${name}' already; give the new one another name, or detach that one first.`,
    );
  const merged = [...state.adapters.values()].find((adapter) => adapter.merged);
  if (merged)
    throw new Error(
      `attachLora: adapter '${merged.name}' is merged into the base; unmerge it first, or merge it for good.`,
    );
  for (const path of plan.keys()) baseOf(path, slots.get(path)!.layer);
  const wrapped = wrapLinears(host, slots, plan.keys(), state);
  const layers = new Map<string, LoraUpdate>();
  for (const [path, layerConfig] of plan) {
    const { layer, columns } = slots.get(path)!;
    const linear = wrapped.get(layer)!;
    const update = new LoraUpdate(name, linear.base, layerConfig, seedFor(seed, path), columns);
    linear.add(update);
    layers.set(path, update);
  }
  const adapter = new LoraAdapter(name, resolved, layers, new Set(wrapped.values()));
  state.adapters.set(name, adapter);
  state.active = [...state.active, name];
  return adapter;
}

/** Takes an adapter off its host for good: base weights as they were before it, factors freed. */
export function detachLora(host: LinearHost, adapter: LoraAdapter): void {
  if (adapter.merged) adapter.unmerge();
  takeOff(host, adapter, (linear) => linear.remove(adapter.name));
}

/**
 * Leaves an adapter's changes in the base weights for good and frees its factors; linears without another adapter are
 * plain again, so that the model can be saved and served as one.
 *
 * @throws when another adapter is merged into the same weights.
 */
export function mergeLora(host: LinearHost, adapter: LoraAdapter): void {
  for (const { merged } of adapter.linears) {
    const other = [...merged].find((name) => name !== adapter.name);
    if (other !== undefined)
      throw new Error(`mergeLora: adapter '${other}' is merged into the same weights; unmerge or absorb it first.`);
  }
  if (!adapter.merged) adapter.merge();
  takeOff(host, adapter, (linear) => linear.absorb(adapter.name));
}

/** Ends an adapter on all its linears; those that have no other become plain again. */
function takeOff(host: LinearHost, { name, layers }: LoraAdapter, end: (linear: LoraLinear) => void): void {
  const ended = new Set<LinearLayer>();
  for (const path of layers.keys()) {
    const { layer } = host.linears().get(path)!;
    if (ended.has(layer) || !(layer instanceof LoraLinear)) continue;
    ended.add(layer);
    end(layer);
    layer.adapterSwitch.adapters.delete(name);
    layer.adapterSwitch.active = layer.adapterSwitch.active.filter((each) => each !== name);
    if (layer.updates.size === 0) host.replaceLinear(path, layer.base);
  }
}

/** Puts a `LoraLinear` around the linears at these paths that have none. @returns them by what was there before. */
function wrapLinears(
  host: LinearHost,
  slots: ReadonlyMap<string, LinearSlot>,
  paths: Iterable<string>,
  state: AdapterSwitch,
): Map<LinearLayer, LoraLinear> {
  const wrapped = new Map<LinearLayer, LoraLinear>();
  for (const path of paths) {
    const { layer } = slots.get(path)!;
    if (wrapped.has(layer)) continue;
    const linear = layer instanceof LoraLinear ? layer : new LoraLinear(baseOf(path, layer), state);
    wrapped.set(layer, linear);
    if (linear !== layer) host.replaceLinear(path, linear);
  }
  return wrapped;
}
