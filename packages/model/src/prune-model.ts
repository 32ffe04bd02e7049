import * as tf from '@tensorflow/tfjs-core';
import { CausalLm } from './causal-lm.js';
import type { MixtureConfig } from './mixture-config.js';
import { mixtureLayers } from './mixture-layers.js';
import { resolveConfig } from './model-config.js';
import { refuseAdapters } from './refuse-adapters.js';

/** A model with fewer experts, and what that cost. */
export interface PrunedModel {
  /** Owned by the caller; the old model is untouched. */
  readonly model: CausalLm;
  /** For each layer that holds a mixture, ascending, the experts that stayed, by their old numbers, ascending. */
  readonly kept: readonly (readonly number[])[];
  /** For each of these layers the share of all choices that went to experts that are gone. */
  readonly lostLoad: readonly number[];
}

/**
 * Removes the least used experts of every layer, with their gate columns; tokens that chose them go to the best of those
 * that remain (task-specific expert pruning, arXiv:2206.00277). Layers keep as many experts each, but not the same ones,
 * so domain names do not survive. Where experts lie in groups, each group keeps equally many.
 *
 * With a top-k router that renormalises, the function of tokens that chose no removed expert is unchanged. In a
 * hierarchy the experts that remain in a group share its probability, so their weights change a little.
 *
 * @param load how often each expert was chosen, as counts or shares, for each layer that holds a mixture.
 * @param keep experts that remain in each layer.
 * @throws when the model is dense, the load does not match it, or too few or no equal groups would remain.
 */
export function pruneModel(model: CausalLm, load: readonly (readonly number[])[], keep: number): PrunedModel {
  const { config } = model;
  if (!config.mixture) throw new Error('pruneModel: this model is dense; there is no expert to remove.');
  if (model.frozenWeights.size > 0)
    throw new Error('pruneModel: the experts are frozen in fewer bytes; load the model with float32 weights.');
  refuseAdapters(
    model,
    (path) =>
      `pruneModel: ${path} carries an adapter, which would be lost; merge it with mergeLora or take it off with detachLora first.`,
  );
  const layers = mixtureLayers(config);
  const shares = checkLoad(load, layers, config.mixture.numExperts);
  const kept = shares.map((ofLayer) => mostUsed(ofLayer, keep, config.mixture!));
  const { domains: _, ...mixture } = config.mixture;
  const pruned = CausalLm.empty(resolveConfig({ ...config, mixture: { ...mixture, numExperts: keep } }));
  const old = new Map([...model.parameters(), ...model.buffers()]);
  for (const [path, variable] of [...pruned.parameters(), ...pruned.buffers()]) {
    const layer = Number(/^model\.layers\.(\d+)\./.exec(path)?.[1]);
    tf.tidy(() => variable.assign(takeKept(old.get(path)!, variable.shape, kept[layers.indexOf(layer)] ?? [])));
  }
  const lostLoad = shares.map((ofLayer, i) =>
    ofLayer.reduce((lost, share, expert) => lost + (kept[i]!.includes(expert) ? 0 : share), 0),
  );
  return { model: pruned, kept, lostLoad };
}

/** The kept slices along the axis of the experts, which is the one that got shorter. */
function takeKept(old: tf.Tensor, shape: readonly number[], kept: readonly number[]): tf.Tensor {
  const axis = shape.findIndex((size, i) => size !== old.shape[i]);
  return axis < 0 ? old : tf.gather(old, tf.tensor1d([...kept], 'int32'), axis);
}

/** @returns shares that sum to 1, by layer. */
function checkLoad(load: readonly (readonly number[])[], layers: readonly number[], experts: number): number[][] {
  if (load.length !== layers.length)
    throw new Error(`pruneModel: load must have one list for each of ${layers.length} layers, got ${load.length}.`);
  return load.map((ofLayer, i) => {
    const total = ofLayer.reduce((sum, count) => sum + count, 0);
    if (ofLayer.length !== experts || !(total > 0 && Number.isFinite(total)) || ofLayer.some((count) => count < 0)) {
      throw new Error(
        `pruneModel: load of layer ${layers[i]} must be ${experts} counts or shares of 0 or more, not all 0, got [${ofLayer.join(', ')}].`,
      );
    }
    return ofLayer.map((count) => count / total);
  });
}

function mostUsed(shares: readonly number[], keep: number, { numExperts, router, groups }: MixtureConfig): number[] {
  const numGroups = router && 'numGroups' in router ? router.numGroups : (groups?.numGroups ?? 1);
  if (!Number.isInteger(keep) || keep < 1 || keep > numExperts || keep % numGroups !== 0) {
    throw new Error(
      `pruneModel: keep must be a whole number from 1 to ${numExperts}${numGroups > 1 ? `, a multiple of the ${numGroups} groups` : ''}, got ${keep}.`,
    );
  }
  const size = numExperts / numGroups;
  const order = shares.map((_, expert) => expert).sort((a, b) => shares[b]! - shares[a]! || a - b);
  const ofGroup = (group: number) =>
    order.filter((expert) => Math.floor(expert / size) === group).slice(0, keep / numGroups);
  return Array.from({ length: numGroups }, (_, group) => ofGroup(group))
    .flat()
    .sort((a, b) => a - b);
}
