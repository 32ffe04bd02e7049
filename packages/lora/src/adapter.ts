import * as tf from '@tensorflow/tfjs-core';
import { type LinearLayer, type Parameters, seedFor } from '@therapeutic-moe/nn';
import { type StartFactors, startFromBase, startsFromBase } from './base-start.js';
import {
  type AdapterSwitch,
  adapterSwitch,
  baseOf,
  type LinearHost,
  type LinearSlot,
  stacksOf,
} from './linear-host.js';
import { type LoraConfig, resolveLoraConfig } from './lora-config.js';
import { LoraLinear } from './lora-linear.js';
import { type LoraPlan, planLora } from './lora-plan.js';
import { LoraStackedLinear, StackedUpdate } from './lora-stacked-linear.js';
import { LoraUpdate } from './lora-update.js';

/** One adapter on one model: what it does to each adapted linear and stack of experts, by path. */
export class LoraAdapter {
  /** @param linears those that the updates of `layers` lie on. @param stackedLinears those that `stacks` lie on. */
  constructor(
    readonly name: string,
    readonly config: LoraConfig,
    readonly layers: ReadonlyMap<string, LoraUpdate>,
    readonly linears: ReadonlySet<LoraLinear>,
    readonly stacks: ReadonlyMap<string, StackedUpdate>,
    readonly stackedLinears: ReadonlySet<LoraStackedLinear>,
  ) {}

  /** All that its updates lie on. */
  get hosts(): readonly (LoraLinear | LoraStackedLinear)[] {
    return [...this.linears, ...this.stackedLinears];
  }

  /** Whether the base weights are what the adapter makes of them. */
  get merged(): boolean {
    return this.hosts.some(({ merged }) => merged.has(this.name));
  }

  /** What is trained: `{path}.lora_A`, `{path}.lora_B`, and with DoRA `{path}.lora_magnitude_vector`. */
  parameters(): Parameters {
    const factors = new Map<string, tf.Variable>();
    for (const [path, update] of [...this.layers, ...this.stacks])
      for (const [name, factor] of update.factors()) factors.set(`${path}.${name}`, factor);
    return factors;
  }

  /** Makes every base weight what the adapter makes of it. */
  merge(): void {
    for (const host of this.hosts) host.merge(this.name);
  }

  /** Puts every base weight back, bit for bit. */
  unmerge(): void {
    for (const host of this.hosts) host.unmerge(this.name);
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
  if (startsFromBase(resolved)) {
    throw new Error(
      `attachLora: initLoraWeights '${resolved.initLoraWeights}' reads the base weights first; use await attachLoraFromBase.`,
    );
  }
  return attach(host, resolved, seed, name, new Map());
}

/**
 * Puts an adapter on a host like `attachLora`, whatever its `initLoraWeights`: where factors start from the base (PiSSA,
 * OLoRA), its weights are read and decomposed first. They are not changed.
 *
 * @throws as `attachLora` does, and when a rank exceeds a side of a weight or another adapter is merged into it; the host
 *   is then as before.
 */
export async function attachLoraFromBase(
  host: LinearHost,
  config: Partial<LoraConfig>,
  seed: number,
  name = 'default',
): Promise<LoraAdapter> {
  const resolved = resolveLoraConfig(config);
  const starts = new Map<string, StartFactors>();
  try {
    for (const [path, layerConfig] of startsFromBase(resolved) ? planFor(host, resolved).linears : []) {
      checkRoom(host, name);
      const weight = slotWeight(path, host.linears().get(path)!);
      starts.set(
        path,
        await startFromBase(weight, layerConfig, path, seedFor(seed, path)).finally(() => weight.dispose()),
      );
    }
    return attach(host, resolved, seed, name, starts);
  } catch (thrown) {
    for (const { a, b } of starts.values()) tf.dispose([a, b]);
    throw thrown;
  }
}

/** The base's weight in a slot's columns, `[inputSize, columns]`. Caller disposes. */
function slotWeight(path: string, { layer, columns }: LinearSlot): tf.Tensor2D {
  return tf.tidy(() => {
    const weight = baseOf(path, layer).dense();
    return columns ? tf.slice(weight, [0, columns.start], [-1, columns.size]) : weight;
  });
}

/** What an adapter would go on. @throws as `attachLora` does. */
export function planFor(host: LinearHost, config: LoraConfig): LoraPlan {
  return planLora('attachLora', { linears: host.linears().keys(), stacks: stacksOf(host).keys() }, config);
}

/** @throws when a host has an adapter of this name, or one that is merged: another would take the sum for its base. */
function checkRoom(host: LinearHost, name: string): void {
  const adapters = adapterSwitch(host)?.adapters ?? new Map<string, LoraAdapter>();
  if (adapters.has(name))
    throw new Error(
      `attachLora: the model has an adapter '${name}' already; give the new one another name, or detach that one first.`,
    );
  const merged = [...adapters.values()].find((adapter) => adapter.merged);
  if (merged)
    throw new Error(
      `attachLora: adapter '${merged.name}' is merged into the base; unmerge it first, or merge it for good.`,
    );
}

function attach(
  host: LinearHost,
  resolved: LoraConfig,
  seed: number,
  name: string,
  starts: ReadonlyMap<string, StartFactors>,
): LoraAdapter {
  const slots = host.linears();
  const plan = planFor(host, resolved);
  checkRoom(host, name);
  const state = adapterSwitch(host) ?? { adapters: new Map<string, LoraAdapter>(), active: [] };
  for (const path of plan.linears.keys()) baseOf(path, slots.get(path)!.layer);
  const wrapped = wrapLinears(host, slots, plan.linears.keys(), state);
  const layers = new Map<string, LoraUpdate>();
  for (const [path, layerConfig] of plan.linears) {
    const { layer, columns } = slots.get(path)!;
    const linear = wrapped.get(layer)!;
    const update = new LoraUpdate(name, linear.base, layerConfig, seedFor(seed, path), columns, starts.get(path));
    linear.add(update);
    layers.set(path, update);
  }
  const stacks = new Map<string, StackedUpdate>();
  const wrappedStacks = wrapStacks(host, plan.stacks.keys(), state);
  for (const [path, layerConfig] of plan.stacks) {
    const update = new StackedUpdate(wrappedStacks.get(path)!, layerConfig, seedFor(seed, path));
    wrappedStacks.get(path)!.updates.set(name, update);
    stacks.set(path, update);
  }
  // PEFT, too, keeps the names that 'all-linear' stands for, since other models have others.
  const targetModules = resolved.targetModules === 'all-linear' ? [...layers.keys()] : resolved.targetModules;
  const config = { ...resolved, targetModules };
  const hosts = [new Set(wrapped.values()), new Set(wrappedStacks.values())] as const;
  const adapter = new LoraAdapter(name, config, layers, hosts[0], stacks, hosts[1]);
  state.adapters.set(name, adapter);
  state.active = [...state.active, name];
  return adapter;
}

/**
 * Takes an adapter off its host for good: base weights as they were before it, factors freed.
 *
 * @throws when the host does not have it, or not any more.
 */
export function detachLora(host: LinearHost, adapter: LoraAdapter): void {
  checkAttached('detachLora', host, adapter);
  if (adapter.merged) adapter.unmerge();
  takeOff(host, adapter, (layer) => layer.remove(adapter.name));
}

/**
 * Leaves an adapter's changes in the base weights for good and frees its factors; linears without another adapter are
 * plain again, so that the model can be saved and served as one.
 *
 * @throws when the host does not have it, or not any more, or another adapter is merged into the same weights.
 */
export function mergeLora(host: LinearHost, adapter: LoraAdapter): void {
  checkAttached('mergeLora', host, adapter);
  for (const { merged } of adapter.hosts) {
    const other = [...merged].find((name) => name !== adapter.name);
    if (other !== undefined)
      throw new Error(
        `mergeLora: adapter '${other}' is merged into the same weights; unmerge it first, or merge it for good.`,
      );
  }
  if (!adapter.merged) adapter.merge();
  takeOff(host, adapter, (layer) => layer.absorb(adapter.name));
}

function checkAttached(where: string, host: LinearHost, adapter: LoraAdapter): void {
  if (adapterSwitch(host)?.adapters.get(adapter.name) === adapter) return;
  throw new Error(
    `${where}: this adapter '${adapter.name}' is not on the model, or not any more; take the one that Adapters.get gives.`,
  );
}

/** Ends an adapter on all its layers; those that have no other become plain again. */
function takeOff(
  host: LinearHost,
  { name, layers, stacks, hosts }: LoraAdapter,
  end: (layer: LoraLinear | LoraStackedLinear) => void,
): void {
  for (const layer of hosts) {
    end(layer);
    layer.adapterSwitch.adapters.delete(name);
    layer.adapterSwitch.active = layer.adapterSwitch.active.filter((each) => each !== name);
  }
  for (const path of layers.keys()) {
    const { layer } = host.linears().get(path)!;
    if (layer instanceof LoraLinear && layer.updates.size === 0) host.replaceLinear(path, layer.base);
  }
  for (const path of stacks.keys()) {
    const stack = stacksOf(host).get(path);
    if (stack instanceof LoraStackedLinear && stack.updates.size === 0) host.replaceStack!(path, stack.base);
  }
}

/** Puts a `LoraStackedLinear` around the stacks at these paths that have none. @returns them by path. */
function wrapStacks(host: LinearHost, paths: Iterable<string>, state: AdapterSwitch): Map<string, LoraStackedLinear> {
  const wrapped = new Map<string, LoraStackedLinear>();
  for (const path of paths) {
    const stack = stacksOf(host).get(path)!;
    const layer = stack instanceof LoraStackedLinear ? stack : new LoraStackedLinear(stack, state);
    wrapped.set(path, layer);
    if (layer !== stack) host.replaceStack!(path, layer);
  }
  return wrapped;
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
