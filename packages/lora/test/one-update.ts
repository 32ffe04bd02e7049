import type { Linear } from '@therapeutic-moe/nn';
import { type LoraLayerConfig, LoraLinear, LoraUpdate } from '../src/index.js';

/** A linear with one update, and the update. */
export type OneUpdate = LoraLinear & { readonly base: Linear; readonly update: LoraUpdate };

/** A linear with the update of the adapter `default`, switched on. */
export function oneUpdate(base: Linear, config: LoraLayerConfig, seed: number): OneUpdate {
  const linear = new LoraLinear(base, { adapters: new Map(), active: ['default'] });
  const update = new LoraUpdate('default', base, config, seed);
  linear.add(update);
  return Object.assign(linear, { update }) as OneUpdate;
}
