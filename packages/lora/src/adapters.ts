import { attachLora, attachLoraFromBase, detachLora, type LoraAdapter, planFor } from './adapter.js';
import { assignFactors, type Combination, combineAdapters } from './combine-adapters.js';
import { plannedShapes } from './file-factors.js';
import { type AdapterSwitch, adapterSwitch, type LinearHost } from './linear-host.js';
import type { LoraConfig } from './lora-config.js';
import { checkAdapterWeights, loadAdapterWeights, readAdapterConfig } from './peft-files.js';

/**
 * Puts a PEFT adapter on a model and switches it on.
 *
 * @param directory holds `adapter_config.json` and `adapter_model.safetensors`.
 * @param name tells adapters of one model apart.
 * @throws when the name is taken or the adapter was made for another model; the model is then as before.
 */
export async function loadAdapter(host: LinearHost, directory: string, name = 'default'): Promise<LoraAdapter> {
  const adapter = await loadSwitchedOff(host, directory, name);
  const state = adapterSwitch(host)!;
  state.active = [...state.active, name];
  return adapter;
}

/**
 * The adapters of a model at run time: which there are, and which are at work. It keeps nothing itself, so any number of
 * them say the same of one model.
 */
export class Adapters {
  constructor(private readonly host: LinearHost) {}

  /** All that are attached, in the order they came. */
  get names(): readonly string[] {
    return [...this.#known.keys()];
  }

  /** Those that are switched on; what they add is summed. */
  get active(): readonly string[] {
    return adapterSwitch(this.host)?.active ?? [];
  }

  /** @throws when there is none of that name. */
  get(name: string): LoraAdapter {
    const adapter = this.#known.get(name);
    if (adapter) return adapter;
    throw new Error(`Adapters: there is no adapter '${name}'; the model has ${this.names.join(', ') || 'none'}.`);
  }

  /** A fresh adapter, switched off. @throws as `attachLora`. */
  add(name: string, config: Partial<LoraConfig>, seed: number): LoraAdapter {
    return attachSwitchedOff(this.host, config, seed, name);
  }

  /**
   * Reads a PEFT folder, switched off.
   *
   * @throws when the name is taken or the adapter was made for another model; the model is then as before.
   */
  load(name: string, directory: string): Promise<LoraAdapter> {
    return loadSwitchedOff(this.host, directory, name);
  }

  /**
   * A new adapter, switched off, that stands for the weighted sum of others, computed on the host in float64 as PEFT's
   * `add_weighted_adapter` does. Its scale is 1.
   *
   * @param weights of the adapters by name; below 0 an adapter's effect is taken away.
   * @throws when the name is taken, an adapter is not known or a DoRA adapter, or the way of combining does not fit.
   */
  async combine(name: string, weights: Readonly<Record<string, number>>, how: Combination): Promise<LoraAdapter> {
    const parts = new Map(Object.entries(weights).map(([part, weight]) => [this.get(part), weight]));
    const { config, factors } = await combineAdapters(parts, how);
    const adapter = attachSwitchedOff(this.host, config, 0, name);
    assignFactors(adapter, factors);
    return adapter;
  }

  /**
   * Switches these on and all others off; none: the plain base answers. Sessions that are under way keep what they have
   * computed, so give those an adapter of their own instead.
   *
   * @throws when a name is not known, or an adapter is merged into the base.
   */
  use(...names: readonly string[]): void {
    for (const name of names) this.get(name);
    this.#refuseMerged('use');
    if (this.names.length > 0) this.#switch.active = [...new Set(names)];
  }

  /** Runs something on the plain base, then switches on again what was on. Everyone else has the plain base meanwhile. */
  async without<T>(run: () => T | Promise<T>): Promise<T> {
    const before = this.active;
    this.use();
    try {
      return await run();
    } finally {
      this.use(...before.filter((name) => this.names.includes(name)));
    }
  }

  /** Takes an adapter off and frees it. @throws when there is none of that name, or it is merged into the base. */
  delete(name: string): void {
    const adapter = this.get(name);
    if (adapter.merged) throw new Error(`Adapters.delete: '${name}' is merged into the base; unmerge it first.`);
    detachLora(this.host, adapter);
  }

  get #known(): ReadonlyMap<string, LoraAdapter> {
    return adapterSwitch(this.host)?.adapters ?? new Map();
  }

  get #switch(): AdapterSwitch {
    return adapterSwitch(this.host)!;
  }

  #refuseMerged(method: string): void {
    const merged = [...this.#known.values()].find((adapter) => adapter.merged);
    if (merged) throw new Error(`Adapters.${method}: '${merged.name}' is merged into the base; unmerge it first.`);
  }
}

/** Attaches an adapter without any pass seeing it. */
function attachSwitchedOff(host: LinearHost, config: Partial<LoraConfig>, seed: number, name: string): LoraAdapter {
  return switchedOff(host, attachLora(host, config, seed, name));
}

function switchedOff(host: LinearHost, adapter: LoraAdapter): LoraAdapter {
  const state = adapterSwitch(host)!;
  state.active = state.active.filter((each) => each !== adapter.name);
  return adapter;
}

/** Reads an adapter while no pass sees it, for it comes tensor by tensor. */
async function loadSwitchedOff(host: LinearHost, directory: string, name: string): Promise<LoraAdapter> {
  const config = await readAdapterConfig(directory);
  await checkAdapterWeights(directory, plannedShapes(host, planFor(host, config)));
  const adapter = switchedOff(host, await attachLoraFromBase(host, config, 0, name));
  try {
    await loadAdapterWeights(adapter, directory);
  } catch (thrown) {
    detachLora(host, adapter);
    throw thrown;
  }
  return adapter;
}
