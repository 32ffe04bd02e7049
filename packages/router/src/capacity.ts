import * as tf from '@tensorflow/tfjs-core';
import type { GroupedRowPlan } from '@therapeutic-moe/kernels';
import { dims, refuseUnknownKeys } from '@therapeutic-moe/nn';
import { constant, planRows, visitsOf } from './plan-rows.js';
import { topKIndices } from './top-k.js';

/** Which choices of an overfull expert lose their place. */
export type DropBy = 'position' | 'probability';

/** How many tokens an expert takes. Absent from a model: no limit, nothing is dropped. */
export interface CapacityConfig {
  /** Places per expert in training, as a multiple of an even share. 1.25 in Switch Transformer. */
  readonly capacityFactor: number;
  /** The same outside of training, usually larger. */
  readonly evalCapacityFactor: number;
  /** Every expert has at least this many places. */
  readonly minCapacity: number;
  /**
   * `position`: the later choices lose, in order of token, then place. `probability`: those of smallest weight lose,
   * which looks at later tokens too, so a causal decoder does not decode as it was trained.
   */
  readonly dropBy: DropBy;
}

const defaults: CapacityConfig = { capacityFactor: 1.25, evalCapacityFactor: 2, minCapacity: 4, dropBy: 'position' };

/** Fills in what is absent, checks, and returns the settings frozen. @throws Error naming field, value and way out. */
export function resolveCapacityConfig(config: Partial<CapacityConfig>): CapacityConfig {
  refuseUnknownKeys('capacity', config, Object.keys(defaults));
  const resolved = { ...defaults, ...config };
  for (const field of ['capacityFactor', 'evalCapacityFactor'] as const) {
    const value = resolved[field];
    if (!(Number.isFinite(value) && value > 0)) {
      throw new Error(`capacity: ${field} must be a number above 0, got ${value}; 1 is an even share.`);
    }
  }
  if (!Number.isInteger(resolved.minCapacity) || resolved.minCapacity < 1) {
    throw new Error(`capacity: minCapacity must be a whole number of 1 or more, got ${resolved.minCapacity}.`);
  }
  refuseDropBy('capacity', resolved.dropBy);
  return Object.freeze(resolved);
}

/**
 * Places per expert, `max(minCapacity, ceil(factor * tokens * k / experts))` (GShard, arXiv:2006.16668; Switch
 * Transformer, arXiv:2101.03961, eq. 3). More than `tokens` is never needed.
 *
 * @param tokens how many are real; padding takes no place.
 */
export function expertCapacity(
  config: CapacityConfig,
  tokens: number,
  k: number,
  experts: number,
  training: boolean,
): number {
  const factor = training ? config.capacityFactor : config.evalCapacityFactor;
  const share = Math.ceil((factor * tokens * k) / experts);
  return Math.max(1, Math.min(tokens, Math.max(config.minCapacity, share)));
}

/** What a capacity plan needs besides the choices. */
export interface CapacityLimits {
  readonly experts: number;
  /** Places per expert. */
  readonly capacity: number;
  readonly dropBy: DropBy;
  /** `[tokens]`, 0 where the token is padding: it takes no place. Absent: all are real. */
  readonly mask?: tf.Tensor1D;
}

/** `capacity` rows for every expert, some of them empty. */
export interface CapacityPlan extends GroupedRowPlan {
  /** Multiples of the capacity. */
  readonly offsets: readonly number[];
  /** `[experts]` how many choices found no place. */
  readonly overflow: tf.Tensor1D;
}

/**
 * Gives each expert the same number of rows and drops what does not fit, wholly on the device (GShard,
 * arXiv:2006.16668). Constant to the tape. Rows of an expert are in order of token whichever way is dropped.
 *
 * By position, choices rank by token, then place. GShard and Switch Transformer rank the first choices of all tokens
 * before any second choice; then a later token can push out an earlier one, and a causal decoder sees the future.
 * Between equal weights, the earlier choice stays.
 *
 * @param indices int32 `[tokens, k]`. @param weights `[tokens, k]`, 0 or more.
 * @returns a plan of `experts * capacity` rows. Caller disposes its tensors.
 * @throws when shapes or limits do not fit.
 */
export function capacityPlan(indices: tf.Tensor2D, weights: tf.Tensor2D, limits: CapacityLimits): CapacityPlan {
  const { experts, capacity, dropBy, mask } = limits;
  const { tokens, k } = dims('capacityPlan: indices', indices, ['tokens', 'k']);
  dims('capacityPlan: weights', weights, ['tokens', 'k'], { tokens, k });
  if (mask) dims('capacityPlan: mask', mask, ['tokens'], { tokens });
  if (!Number.isInteger(capacity) || capacity < 1) {
    throw new Error(
      `capacityPlan: capacity must be a whole number of 1 or more, got ${capacity}; expertCapacity makes one.`,
    );
  }
  refuseDropBy('capacityPlan', dropBy);
  const offsets = Array.from({ length: experts + 1 }, (_, e) => e * capacity);
  const rows = experts * capacity;
  const tensors = tf.tidy(() => {
    const visits = visitsOf(indices, experts, mask);
    const rank = dropBy === 'position' ? ranksByPosition(visits) : ranksByWeight(visits, constant(weights));
    const kept = tf.mul(visits, tf.cast(tf.less(rank, capacity), 'float32')) as tf.Tensor2D;
    return {
      ...planRows(kept, tf.tensor1d(offsets.slice(0, -1), 'float32'), rows, k),
      groupOfRow: tf.tensor1d(
        Int32Array.from({ length: rows }, (_, row) => Math.floor(row / capacity)),
        'int32',
      ),
      overflow: tf.sub(tf.sum(visits, 0), tf.sum(kept, 0)) as tf.Tensor1D,
    };
  });
  return { ...tensors, offsets, complete: false };
}

/** `[choices, 1]` how many earlier choices went to the same expert. */
function ranksByPosition(visits: tf.Tensor2D): tf.Tensor2D {
  return tf.sum(tf.mul(visits, tf.cumsum(visits, 0, true)), 1, true);
}

/** `[choices, 1]` how many choices of the same expert weigh more, or the same and come earlier. */
function ranksByWeight(visits: tf.Tensor2D, weights: tf.Tensor2D): tf.Tensor2D {
  const choices = visits.shape[0];
  const real = tf.sum(visits, 1);
  const scores = tf.sub(tf.mul(tf.reshape(weights, [choices]), real), tf.sub(1, real)); // padding is -1 and comes last
  const order = tf.reshape(topKIndices(tf.reshape(scores, [1, choices]), choices), [choices]);
  const inOrder = ranksByPosition(tf.gather(visits, order));
  return tf.scatterND(tf.expandDims(order, 1), inOrder, [choices, 1]);
}

function refuseDropBy(where: string, dropBy: DropBy): void {
  if (dropBy !== 'position' && dropBy !== 'probability') {
    throw new Error(`${where}: dropBy must be 'position' or 'probability', got '${String(dropBy)}'.`);
  }
}
