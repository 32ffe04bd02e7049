import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { resolveRouterConfig, TopKRouter } from '@therapeutic-moe/router';
import type { Experts } from './experts.js';

/** The experts of one layer and the router that chooses among them. */
export interface ExpertPool {
  readonly router: TopKRouter;
  readonly experts: Experts;
}

/** What a pool operation gives: the pool it was asked for, the old one untouched. */
export interface PoolChange {
  /** Router and experts with variables of their own. Caller disposes both. */
  readonly pool: ExpertPool;
  /** For each expert of the new pool the old experts it is made of. */
  readonly origins: readonly (readonly number[])[];
}

/** Experts copied by number, in the order given; the caller owns them. @throws when a number names no expert. */
export function selectExperts(experts: Experts, chosen: readonly number[]): Experts {
  for (const expert of chosen) refuseStranger('selectExperts', expert, experts.experts);
  return experts.rebuild((stacked) => takeExperts(stacked, chosen));
}

/** @param stacked `[experts, ...]`. @returns `[chosen, ...]`. Caller disposes. */
export function takeExperts(stacked: tf.Tensor, chosen: readonly number[]): tf.Tensor {
  return tf.tidy(() => tf.gather(stacked, tf.tensor1d([...chosen], 'int32')));
}

/** What becomes of a pool's stacks, and what each new expert is made of. */
interface PoolPlan {
  /** Maps each stack of the experts `[experts, ...]`. */
  readonly ofExperts: (stacked: tf.Tensor) => tf.Tensor;
  /**
   * Maps the gate, `[experts, hidden + 1]` with the bias last, so that a column can go the way of its expert; and what
   * the router keeps beside it, `[experts]`.
   */
  readonly ofGate: (columns: tf.Tensor) => tf.Tensor;
  /** One entry per new expert. */
  readonly origins: readonly (readonly number[])[];
  /** Added to the new gate biases `[experts]`; a gate without bias gets one only for this. */
  readonly lift?: readonly number[];
  /** Added to what the router keeps beside its gate `[experts]`. */
  readonly liftKept?: readonly number[];
}

/** A new pool by plan. @throws when fewer experts would remain than a token visits. */
export function rebuildPool(where: string, { router, experts }: ExpertPool, plan: PoolPlan): PoolChange {
  const numExperts = plan.origins.length;
  const { numExpertsPerTok } = router.config;
  if (numExperts < numExpertsPerTok) {
    throw new Error(
      `${where}: ${numExperts} experts would remain, but a token visits ${numExpertsPerTok} (numExpertsPerTok); keep at ` +
        `least ${numExpertsPerTok}, or first make the pool's router anew with a smaller numExpertsPerTok.`,
    );
  }
  refuseMixedGroups(where, router, plan.origins);
  const config = resolveRouterConfig({ ...router.config, numExperts });
  const successor = new TopKRouter(rebuildGate(plainGate(where, router), plan.ofGate, plan.lift), config);
  carryBuffers(router, successor, plan);
  return { pool: { router: successor, experts: experts.rebuild(plan.ofExperts) }, origins: plan.origins };
}

/** Groups are runs of equal length, so an operation that shifts a border would put experts into others' groups. */
function refuseMixedGroups(where: string, { config }: TopKRouter, origins: PoolChange['origins']): void {
  if (!config.groups) return;
  const { numGroups } = config.groups;
  const [before, after] = [config.numExperts / numGroups, origins.length / numGroups];
  const stays = origins.every((old, e) => old.every((o) => Math.floor(o / before) === Math.floor(e / after)));
  if (Number.isInteger(after) && stays) return;
  throw new Error(
    `${where}: the router chooses within ${numGroups} groups, and ${origins.length} experts would not lie in the groups they came from; ` +
      'change equally many in each group, or make the router anew without groups.',
  );
}

/** @throws when router and experts differ in size, or the gate cannot be cut. */
export function checkPool(where: string, { router, experts }: ExpertPool): void {
  if (router.numExperts !== experts.experts || router.hiddenSize !== experts.hidden) {
    throw new Error(
      `${where}: the router knows ${router.numExperts} experts of hidden size ${router.hiddenSize}, but the pool has ` +
        `${experts.experts} of ${experts.hidden}; both must belong to one layer.`,
    );
  }
  plainGate(where, router);
}

/** @throws when `expert` is not in `[0, experts)`. */
export function refuseStranger(where: string, expert: number, experts: number): void {
  if (!Number.isInteger(expert) || expert < 0 || expert >= experts) {
    throw new Error(`${where}: there is no expert ${expert}; experts are 0 to ${experts - 1}.`);
  }
}

/**
 * Load as shares that sum to 1.
 *
 * @param load counts or shares, one per expert.
 * @throws when there is not one per expert, one is negative or not finite, or all are 0.
 */
export function sharesOf(where: string, load: readonly number[], experts: number): number[] {
  if (load.length !== experts) {
    throw new Error(`${where}: load must have one number per expert, ${experts}, got ${load.length}.`);
  }
  const wrong = load.findIndex((share) => !(share >= 0 && Number.isFinite(share)));
  if (wrong >= 0) {
    throw new Error(
      `${where}: load of expert ${wrong} is ${load[wrong]}; counts or shares are finite and not negative.`,
    );
  }
  const total = load.reduce((sum, share) => sum + share, 0);
  if (total === 0) throw new Error(`${where}: every expert's load is 0; measure it on routed tokens first.`);
  return load.map((share) => share / total);
}

function plainGate(where: string, router: TopKRouter): Linear {
  const { gate } = router;
  if (!(gate instanceof Linear)) {
    throw new Error(`${where}: the router's gate must be a plain Linear; merge and detach its adapter first.`);
  }
  for (const [name, { shape }] of router.buffers()) {
    if (shape.length !== 1 || shape[0] !== router.numExperts) {
      throw new Error(
        `${where}: the router's ${name} [${shape}] is not one number per expert; it cannot be carried along.`,
      );
    }
  }
  return gate;
}

function rebuildGate(gate: Linear, change: (stacked: tf.Tensor) => tf.Tensor, lift?: readonly number[]): Linear {
  const hidden = gate.inputSize;
  const [weight, bias] = tf.tidy(() => {
    const rows = [gate.weight as tf.Tensor, tf.reshape(gate.bias ?? tf.zeros([gate.outputSize]), [1, -1])];
    const changed = tf.transpose(change(tf.transpose(tf.concat(rows, 0)))); // [hidden + 1, experts]
    const bias = tf.reshape(tf.slice(changed, [hidden, 0], [1, -1]), [-1]);
    const lifted = lift ? tf.add(bias, tf.tensor1d([...lift])) : bias;
    return [tf.variable(tf.slice(changed, [0, 0], [hidden, -1])), tf.variable(lifted)];
  }) as [tf.Variable, tf.Variable];
  if (gate.bias || lift) return new Linear(weight, bias);
  bias.dispose();
  return new Linear(weight);
}

/** What a router keeps beside its gate, such as a balancing bias, goes the way of its expert too. */
function carryBuffers(from: TopKRouter, to: TopKRouter, { ofGate, origins, liftKept }: PoolPlan): void {
  const successors = to.buffers();
  for (const [name, kept] of from.buffers()) {
    tf.tidy(() => {
      const lift = tf.tensor1d([...(liftKept ?? origins.map(() => 0))]);
      successors.get(name)!.assign(tf.add(ofGate(kept), lift));
    });
  }
}
