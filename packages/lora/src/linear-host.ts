import type { BaseLinear, LinearLayer, StackedLayer } from '@therapeutic-moe/nn';
import type { LoraAdapter } from './adapter.js';
import { LoraLinear } from './lora-linear.js';
import { LoraStackedLinear } from './lora-stacked-linear.js';
import type { ColumnRange } from './lora-update.js';

/** A place for an adapter: a linear, or a range of columns of a fused one. */
export interface LinearSlot {
  /** What is there now: the plain linear, or a `LoraLinear` around it. Slots of one fused linear share it. */
  readonly layer: LinearLayer;
  /** The columns of the layer's output that the slot stands for: `gate_proj` is the first half of `gate_up_proj`. Absent: all. */
  readonly columns?: ColumnRange;
}

/** A model whose linears can be looked up and replaced by path, and its stacks of expert matrices too if it has any. */
export interface LinearHost {
  linears(): ReadonlyMap<string, LinearSlot>;
  /** Puts another layer where the slot's layer is, of that layer's sizes; all slots that shared the old one have the new one. */
  replaceLinear(path: string, layer: LinearLayer): void;
  /** Those of one module one after the other, as transformers registers them. */
  stacks?(): ReadonlyMap<string, StackedLayer>;
  /** Puts another stack of the same sizes in the place of one of `stacks()`. */
  replaceStack?(path: string, stack: StackedLayer): void;
}

/** Which adapters of a host are at work. One for all its layers. */
export interface AdapterSwitch {
  /** All that are attached, by name. */
  readonly adapters: Map<string, LoraAdapter>;
  /** Those that every pass goes through that does not choose by sequence; what several add is summed. */
  active: readonly string[];
}

/** The switch of a host that has adapters. */
export function adapterSwitch(host: LinearHost): AdapterSwitch | undefined {
  for (const { layer } of host.linears().values()) if (layer instanceof LoraLinear) return layer.adapterSwitch;
  for (const stack of stacksOf(host).values()) if (stack instanceof LoraStackedLinear) return stack.adapterSwitch;
  return undefined;
}

/** The stacks of a host; none where it has none. */
export function stacksOf(host: LinearHost): ReadonlyMap<string, StackedLayer> {
  return host.stacks?.() ?? new Map();
}

/** The linear of a slot without adapters. @throws when there is none that an adapter could be put around. */
export function baseOf(path: string, layer: LinearLayer): BaseLinear {
  const base = layer instanceof LoraLinear ? layer.base : layer;
  if (!('dense' in base))
    throw new Error(`attachLora: the layer at ${path} is no plain linear, so no adapter can be put around it.`);
  return base as BaseLinear;
}
