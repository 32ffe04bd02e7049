import * as tf from '@tensorflow/tfjs-core';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '@therapeutic-moe/checkpoint';
import type { LoraAdapter } from './adapter.js';
import type { LoraLinear } from './lora-linear.js';
import type { LoraStackedLinear } from './lora-stacked-linear.js';

/** How far a merged weight lies from what base and adapter make side by side. */
export interface MergeDrift {
  /** Of the linear, or of the stack of experts. */
  readonly path: string;
  /** The largest difference of an element. */
  readonly max: number;
  /** The Frobenius norm of all differences by that of the weight. */
  readonly relative: number;
  /** The same by that of the adapter's change of the weight: what share of what was learnt is lost. */
  readonly ofChange: number;
}

/** What each type keeps of a float32. */
const stored = {
  F32: (values: Float32Array) => values,
  F16: (values: Float32Array) => float16ToFloat32(float32ToFloat16(values)),
  BF16: (values: Float32Array) => bfloat16ToFloat32(float32ToBfloat16(values)),
};

/**
 * Measures what merging an adapter costs in precision: the merged weights as a type stores them, against the sum of base
 * and change, which the host takes in float64 of float32 values. The model is left as it was.
 *
 * @param dtype what the merged weights are stored as.
 * @returns one for each adapted linear and each adapted stack.
 */
export async function mergeDrift(adapter: LoraAdapter, dtype: keyof typeof stored = 'F32'): Promise<MergeDrift[]> {
  const drifts: MergeDrift[] = [];
  for (const change of changesOf(adapter)) {
    const parts = weightsOf(adapter.name, change);
    const [base, changed, merged] = await Promise.all(parts.map((part) => part.data<'float32'>()));
    tf.dispose(parts);
    drifts.push({ path: change.path, ...driftOf(base!, changed!, stored[dtype](merged!)) });
  }
  return drifts;
}

/** What an adapter does at one path. */
interface Change {
  readonly path: string;
  readonly host: LoraLinear | LoraStackedLinear;
  /** The part of a matrix of the host's size that is changed; the whole is freed. Caller disposes. */
  partOf(matrix: tf.Tensor): tf.Tensor;
  /** By what, as large as the whole. Caller disposes. */
  change(): tf.Tensor;
}

function changesOf({ name, layers, linears, stacks, stackedLinears }: LoraAdapter): Change[] {
  const onLinears = [...layers].map(([path, update]) => ({
    path,
    host: [...linears].find(({ updates }) => updates.has(update))!,
    partOf: (matrix: tf.Tensor) => update.columnsOf(matrix),
    change: () => update.change(),
  }));
  const onStacks = [...stacks].map(([path, update]) => ({
    path,
    host: [...stackedLinears].find(({ updates }) => updates.get(name) === update)!,
    partOf: (matrix: tf.Tensor) => matrix,
    change: () => update.delta(),
  }));
  return [...onLinears, ...onStacks];
}

/** @param kept the merged weight as it is stored. */
function driftOf(base: Float32Array, change: Float32Array, kept: Float32Array): Omit<MergeDrift, 'path'> {
  let [max, error, weight, moved] = [0, 0, 0, 0];
  for (let i = 0; i < kept.length; i++) {
    const exact = base[i]! + change[i]!;
    const difference = Math.abs(kept[i]! - exact);
    max = Math.max(max, difference);
    error += difference ** 2;
    weight += exact ** 2;
    moved += change[i]! ** 2;
  }
  return { max, relative: ratio(error, weight), ofChange: ratio(error, moved) };
}

/** Base, change and merged weight where an adapter changes it; no pass runs between merging and unmerging. */
function weightsOf(name: string, { host, partOf, change }: Change): tf.Tensor[] {
  const wasMerged = host.merged.has(name);
  if (!wasMerged) host.merge(name);
  const merged = partOf(host.base.dense());
  host.unmerge(name);
  const parts = [partOf(host.base.dense()), partOf(change()), merged];
  if (wasMerged) host.merge(name);
  return parts;
}

function ratio(squares: number, ofSquares: number): number {
  return squares === 0 ? 0 : Math.sqrt(squares / ofSquares);
}
