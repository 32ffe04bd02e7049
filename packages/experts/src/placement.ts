import * as tf from '@tensorflow/tfjs-core';
import { sharesOf } from './expert-pool.js';
import type { Experts } from './experts.js';

/** What a layer's experts weigh. */
export interface ExpertSizes {
  readonly experts: number;
  readonly bytesPerExpert: number;
  /** What all experts share, and every device therefore holds. */
  readonly sharedBytes: number;
}

/** Where the experts of a layer are to live. */
export interface Devices {
  readonly devices: number;
  /** What one device can hold of this layer. Absent: anything. */
  readonly capacityBytes?: number;
}

/** A plan of experts onto devices; every device has one at least. */
export interface Placement {
  /** `[experts]` the device of each. */
  readonly deviceOf: readonly number[];
  /** `[devices]` its experts, ascending. */
  readonly expertsOf: readonly (readonly number[])[];
  /** `[devices]` what it holds. */
  readonly bytes: readonly number[];
}

/** A placement that knows what its devices will have to do. */
export interface LoadedPlacement extends Placement {
  /** `[devices]` share of all choices, sums to 1. */
  readonly load: readonly number[];
  /** The busiest device's load over the ideal `1 / devices`: how much longer than necessary all wait. */
  readonly imbalance: number;
}

/** Bytes of a layer's weights in float32, per expert and shared. */
export function expertSizes(experts: Experts): ExpertSizes {
  let stacked = 0;
  const first = experts.rebuild((stack) => {
    stacked += stack.size;
    return tf.slice(stack, 0, 1);
  });
  first.dispose();
  const all = [...experts.parameters().values()].reduce((sum, { size }) => sum + size, 0);
  return {
    experts: experts.experts,
    bytesPerExpert: (stacked / experts.experts) * Float32Array.BYTES_PER_ELEMENT,
    sharedBytes: (all - stacked) * Float32Array.BYTES_PER_ELEMENT,
  };
}

/**
 * Equal numbers of neighbouring experts per device (as GShard shards them, arXiv:2006.16668); where that does not
 * divide, the first devices have one more.
 *
 * @throws when there are more devices than experts, or a device's part is larger than its capacity.
 */
export function placeUniformly(sizes: ExpertSizes, devices: Devices): Placement {
  slotsOf('placeUniformly', sizes, devices);
  const { experts } = sizes;
  const deviceOf = Array.from({ length: experts }, (_, expert) => blockOf(expert, experts, devices.devices));
  return describe(deviceOf, sizes, devices.devices);
}

/**
 * Evens out measured load: the longest processing time first rule (Graham 1969, at most 4/3 of the best without a
 * capacity), then moves and swaps that relieve the busiest device until none is left.
 *
 * @param load how often each expert was chosen, as counts or shares.
 * @throws when there are more devices than experts, the experts do not fit, or the load does not match them.
 */
export function placeByLoad(sizes: ExpertSizes, devices: Devices, load: readonly number[]): LoadedPlacement {
  const slots = slotsOf('placeByLoad', sizes, devices);
  const shares = sharesOf('placeByLoad', load, sizes.experts);
  const held = longestFirst(shares, devices.devices, slots);
  while (relieve(held, shares, slots));
  const deviceOf = new Array<number>(sizes.experts);
  for (const [device, experts] of held.entries()) for (const expert of experts) deviceOf[expert] = device;
  return withLoad(describe(deviceOf, sizes, devices.devices), shares);
}

/** What a placement makes of a measured load, so that two can be compared. @throws when the load does not match. */
export function withLoad(placement: Placement, load: readonly number[]): LoadedPlacement {
  const shares = sharesOf('withLoad', load, placement.deviceOf.length);
  const ofDevices = placement.expertsOf.map((experts) => loadOf(experts, shares));
  return { ...placement, load: ofDevices, imbalance: Math.max(...ofDevices) * ofDevices.length };
}

/** Number of the block that item `i` of `items` falls into when they are cut into `blocks`, the first ones longer. */
export function blockOf(i: number, items: number, blocks: number): number {
  const [short, longer] = [Math.floor(items / blocks), items % blocks];
  const inLonger = longer * (short + 1);
  return i < inLonger ? Math.floor(i / (short + 1)) : longer + Math.floor((i - inLonger) / short);
}

/** How many experts a device can hold. */
function slotsOf(where: string, sizes: ExpertSizes, { devices, capacityBytes = Infinity }: Devices): number {
  const { experts, bytesPerExpert, sharedBytes } = sizes;
  if (!Number.isInteger(devices) || devices < 1) {
    throw new Error(`${where}: devices must be a whole number of 1 or more, got ${devices}.`);
  }
  if (!(bytesPerExpert > 0 && sharedBytes >= 0)) {
    throw new Error(
      `${where}: an expert of ${bytesPerExpert} bytes beside ${sharedBytes} shared is none; see expertSizes.`,
    );
  }
  if (devices > experts) {
    throw new Error(
      `${where}: ${devices} devices for ${experts} experts would leave some idle; use at most ${experts}.`,
    );
  }
  const most = Math.ceil(experts / devices);
  const needed = sharedBytes + most * bytesPerExpert;
  if (!(needed <= capacityBytes)) {
    throw new Error(
      `${where}: ${experts} experts on ${devices} devices put ${most} on one, ${needed} bytes, but capacityBytes is ` +
        `${capacityBytes}; use more devices or smaller experts.`,
    );
  }
  return Math.floor((capacityBytes - sharedBytes) / bytesPerExpert);
}

function describe(deviceOf: readonly number[], sizes: ExpertSizes, devices: number): Placement {
  const expertsOf = Array.from({ length: devices }, (_, device) =>
    deviceOf.flatMap((home, expert) => (home === device ? [expert] : [])),
  );
  const bytes = expertsOf.map((experts) => sizes.sharedBytes + experts.length * sizes.bytesPerExpert);
  return { deviceOf, expertsOf, bytes };
}

/** Heaviest expert first, each to the least busy device with room; among equals to the emptiest. */
function longestFirst(shares: readonly number[], devices: number, slots: number): number[][] {
  const held: number[][] = Array.from({ length: devices }, () => []);
  const order = shares.map((_, expert) => expert).sort((a, b) => shares[b]! - shares[a]!);
  for (const expert of order) {
    const free = held.filter((experts) => experts.length < slots);
    const target = free.reduce((best, experts) => {
      const gap = loadOf(experts, shares) - loadOf(best, shares);
      return gap < 0 || (gap === 0 && experts.length < best.length) ? experts : best;
    });
    target.push(expert);
  }
  return held;
}

/** Below this a shift of load is rounding, not relief. */
const RELIEF = 1e-12;

/**
 * Makes the first move of an expert, or swap of two, that takes load off the busiest device without making the other
 * one as busy. Each lessens the sum of squared loads, so this ends.
 */
function relieve(held: number[][], shares: readonly number[], slots: number): boolean {
  const loads = held.map((experts) => loadOf(experts, shares));
  const from = held[loads.indexOf(Math.max(...loads))]!;
  for (const to of held.filter((experts) => experts !== from)) {
    const gap = loadOf(from, shares) - loadOf(to, shares);
    const canMove = to.length < slots && from.length > 1;
    for (const [i, out] of from.entries()) {
      const back = (canMove ? [to.length, ...to.keys()] : [...to.keys()]).find((j) => {
        const moved = shares[out]! - (shares[to[j]!] ?? 0);
        return moved > RELIEF && gap - moved > RELIEF;
      });
      if (back === undefined) continue;
      from.splice(i, 1, ...to.splice(back, 1, out));
      return true;
    }
  }
  return false;
}

function loadOf(experts: readonly number[], shares: readonly number[]): number {
  return experts.reduce((sum, expert) => sum + shares[expert]!, 0);
}
