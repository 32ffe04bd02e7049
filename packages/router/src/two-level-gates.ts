import type { LinearLayer } from '@therapeutic-moe/nn';

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
