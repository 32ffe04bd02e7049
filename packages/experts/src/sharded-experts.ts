import * as tf from '@tensorflow/tfjs-core';
import { combineRows, dispatchRows } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import { selectExperts } from './expert-pool.js';
import type { ExpertPass, Experts } from './experts.js';
import type { Placement } from './placement.js';
import { type SortPlan, sortByExpert } from './sort-plan.js';

/** Rows sorted by device, and on each device by expert. */
export interface ShardPlan extends SortPlan {
  /** `[devices]` how many experts each device holds, in the order of the rows. */
  readonly held: readonly number[];
}

/**
 * The experts of each device, cut out of a layer: each a layer of its own with its own variables. The gradients of their
 * parameters are the rows of the whole layer's.
 *
 * @returns `[devices]`. Caller disposes each.
 */
export function shardExperts(experts: Experts, placement: Placement): Experts[] {
  if (placement.deviceOf.length !== experts.experts) {
    throw new Error(
      `shardExperts: the placement is of ${placement.deviceOf.length} experts, but the layer has ${experts.experts}.`,
    );
  }
  return placement.expertsOf.map((held) => selectExperts(experts, held));
}

/**
 * Sorts choices by device, then by expert: the rows of one device lie together, as an all-to-all would deliver them.
 *
 * @param indices chosen experts `[tokens, k]` row by row; numbers on the host, so that a backend which reads only
 *   asynchronously can give them too.
 * @param mask `[tokens]`, 0 where the token is padding. Absent: all are real.
 * @returns tensors that the caller disposes.
 */
export function sortByDevice(
  indices: ArrayLike<number>,
  k: number,
  placement: Placement,
  mask?: ArrayLike<number>,
): ShardPlan {
  const place = new Map(placement.expertsOf.flat().map((expert, i) => [expert, i]));
  const places = Array.from(indices, (expert) => place.get(expert) ?? expert); // a stranger is refused by the sort
  const plan = sortByExpert(places, k, placement.deviceOf.length, mask);
  return { ...plan, held: placement.expertsOf.map((experts) => experts.length) };
}

/**
 * Expert parallelism in one process (GShard, arXiv:2006.16668): rows go to their devices, each device runs its own
 * experts, the answers come back and are added up. Equals the unsharded layer in output and gradients; the parameters of
 * a device without rows get none (`null` in `tf.variableGrads`), and those that all experts share get a part per device.
 *
 * @param hidden `[tokens, hidden]`. @param weights `[tokens, k]`. @param shards of `shardExperts`.
 * @param plan of `sortByDevice` with the same placement.
 * @returns `[tokens, hidden]`. Caller disposes.
 * @throws when shards and plan do not belong together, or tokens differ.
 */
export function applySharded(
  hidden: tf.Tensor2D,
  weights: tf.Tensor2D,
  shards: readonly Experts[],
  plan: ShardPlan,
  pass?: ExpertPass,
): tf.Tensor2D {
  const [tokens, k] = plan.rowOfChoice.shape;
  dims('applySharded: hidden', hidden, ['tokens', 'hidden'], { tokens, hidden: shards[0]?.hidden ?? 0 });
  dims('applySharded: weights', weights, ['tokens', 'k'], { tokens, k });
  if (shards.map(({ experts }) => experts).join() !== plan.held.join()) {
    throw new Error(
      `applySharded: the plan is for devices of ${plan.held.join(', ')} experts, got shards of ` +
        `${shards.map(({ experts }) => experts).join(', ')}; make both from one placement.`,
    );
  }
  if (pass?.cache || pass?.seed !== undefined) {
    throw new Error(
      'applySharded: shards number their experts from 0, so dropout and kept keys would not be the unsharded ones; leave out pass.seed and pass.cache.',
    );
  }
  return tf.tidy(() => {
    const rows = dispatchRows(hidden, plan);
    const answers = shards.flatMap((shard, device) => runDevice(rows, shard, device, plan, pass));
    return combineRows(answers.length > 0 ? tf.concat2d(answers, 0) : rows, weights, plan);
  });
}

/** The answers to one device's rows; nothing where it has none. */
function runDevice(
  rows: tf.Tensor2D,
  shard: Experts,
  device: number,
  { held, offsets, groupOfRow, tokenOfRow, rowOfChoice }: ShardPlan,
  pass?: ExpertPass,
): tf.Tensor2D[] {
  const first = held.slice(0, device).reduce((sum, experts) => sum + experts, 0);
  const own = offsets.slice(first, first + shard.experts + 1);
  const [begin, size] = [own[0]!, own.at(-1)! - own[0]!];
  if (size === 0) return [];
  const groups = {
    tokens: rowOfChoice.shape[0],
    offsets: own.map((offset) => offset - begin),
    groupOfRow: tf.sub(tf.slice(groupOfRow, begin, size), tf.scalar(first, 'int32')) as tf.Tensor1D,
    tokenOfRow: tf.slice(tokenOfRow, begin, size),
  };
  return [shard.applyGrouped(tf.slice(rows, [begin, 0], [size, -1]), groups, pass)];
}
