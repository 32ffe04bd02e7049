import type * as tf from '@tensorflow/tfjs-core';
import { checkPool, type ExpertPool, type PoolChange, rebuildPool, sharesOf, takeExperts } from './expert-pool.js';

/** Which experts survive: the `keep` most used, or all whose share of the load is `minLoad` or more. */
export type PruneRule = { readonly keep: number } | { readonly minLoad: number };

/** A pruned pool and what the pruning cost. */
export interface Pruned extends PoolChange {
  /** The experts that are gone, by their old numbers. */
  readonly removed: readonly number[];
  /** The share of all choices that went to them, and that the others have to take over. */
  readonly lostLoad: number;
}

/**
 * Removes the experts that are used least, with their gate columns; tokens that chose them go to the best of those that
 * remain, since every softmax and top-k now sees only these (after task-specific expert pruning, arXiv:2206.00277).
 * Where no token chose a removed expert and weights are renormalised, the function is unchanged.
 *
 * @param load how often each expert was chosen, as counts or shares (`usageStatistics().load`).
 * @throws when the rule keeps fewer experts than a token visits, or nothing fits together.
 */
export function pruneExperts(pool: ExpertPool, load: readonly number[], rule: PruneRule): Pruned {
  checkPool('pruneExperts', pool);
  const shares = sharesOf('pruneExperts', load, pool.experts.experts);
  const kept = survivors(shares, rule);
  const keep = (stacked: tf.Tensor) => takeExperts(stacked, kept);
  const origins = kept.map((expert) => [expert]);
  const change = rebuildPool('pruneExperts', pool, { ofExperts: keep, ofGate: keep, origins });
  const removed = shares.flatMap((_, expert) => (kept.includes(expert) ? [] : [expert]));
  return { ...change, removed, lostLoad: removed.reduce((sum, expert) => sum + shares[expert]!, 0) };
}

function survivors(shares: readonly number[], rule: PruneRule): number[] {
  if ('minLoad' in rule) {
    if (!(rule.minLoad > 0 && rule.minLoad <= 1)) {
      throw new Error(`pruneExperts: minLoad is a share above 0 and up to 1, got ${rule.minLoad}.`);
    }
    return shares.flatMap((share, expert) => (share >= rule.minLoad ? [expert] : []));
  }
  if (!Number.isInteger(rule.keep) || rule.keep < 1 || rule.keep > shares.length) {
    throw new Error(`pruneExperts: keep must be a whole number from 1 to ${shares.length} experts, got ${rule.keep}.`);
  }
  const byLoad = shares.map((_, expert) => expert).sort((a, b) => shares[b]! - shares[a]!);
  return byLoad.slice(0, rule.keep).sort((a, b) => a - b);
}
