import type * as tf from '@tensorflow/tfjs-core';
import { float32Products } from '@therapeutic-moe/kernels';
import { joinParameters, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';

/** The gates of a two-level router. */
export interface TwoLevelGates {
  /** Maps `hidden` to one number for each group. */
  readonly group: LinearLayer;
  /** Maps `hidden` to one number for each expert, experts of a group side by side: one small gate per group. */
  readonly expert: LinearLayer;
}

/** @throws when the gates do not fit the counts or each other. */
export function checkGates(
  { group, expert }: TwoLevelGates,
  { numGroups, numExperts }: { readonly numGroups: number; readonly numExperts: number },
): void {
  if (group.outputSize !== numGroups) {
    throw new Error(
      `router: the group gate gives ${group.outputSize} logits but numGroups is ${numGroups}; they must be equal.`,
    );
  }
  if (expert.outputSize !== numExperts) {
    throw new Error(
      `router: the expert gate gives ${expert.outputSize} logits but numExperts is ${numExperts}; they must be equal.`,
    );
  }
  if (group.inputSize !== expert.inputSize) {
    throw new Error(
      `router: the group gate takes ${group.inputSize} and the expert gate ${expert.inputSize} hidden numbers; they must be equal.`,
    );
  }
}

/** Raw outputs, `[tokens, groups]` and `[tokens, experts]`. Caller disposes. */
export function applyGates({ group, expert }: TwoLevelGates, hidden: tf.Tensor2D, seed?: number) {
  const context = { dropoutSeed: seed };
  return float32Products(() => [group.apply(hidden, context), expert.apply(hidden, context)]) as [
    tf.Tensor2D,
    tf.Tensor2D,
  ];
}

/** The variables of both gates, by the names a checkpoint uses. */
export function gateParameters({ group, expert }: TwoLevelGates): Parameters {
  return joinParameters({ group_gate: group, expert_gate: expert });
}
