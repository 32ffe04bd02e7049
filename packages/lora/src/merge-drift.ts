import * as tf from '@tensorflow/tfjs-core';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '@therapeutic-moe/checkpoint';
import type { LoraAdapter } from './adapter.js';
import type { LoraLinear } from './lora-linear.js';
import type { LoraUpdate } from './lora-update.js';

/** How far a merged weight lies from what base and adapter make side by side. */
export interface MergeDrift {
  /** Of the linear. */
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
 * @returns one for each adapted linear.
 */
export async function mergeDrift(adapter: LoraAdapter, dtype: keyof typeof stored = 'F32'): Promise<MergeDrift[]> {
  const drifts: MergeDrift[] = [];
  for (const [path, update] of adapter.layers) {
    const linear = [...adapter.linears].find(({ updates }) => updates.has(update))!;
    drifts.push({ path, ...(await driftOf(linear, update, stored[dtype])) });
  }
  return drifts;
}

async function driftOf(
  linear: LoraLinear,
  update: LoraUpdate,
  store: (values: Float32Array) => Float32Array,
): Promise<Omit<MergeDrift, 'path'>> {
  const parts = weightsOf(linear, update);
  const [base, change, merged] = await Promise.all(parts.map((part) => part.data<'float32'>()));
  tf.dispose(parts);
  const kept = store(merged!);
  let [max, error, weight, moved] = [0, 0, 0, 0];
  for (let i = 0; i < kept.length; i++) {
    const exact = base![i]! + change![i]!;
    const difference = Math.abs(kept[i]! - exact);
    max = Math.max(max, difference);
    error += difference ** 2;
    weight += exact ** 2;
    moved += change![i]! ** 2;
  }
  return { max, relative: ratio(error, weight), ofChange: ratio(error, moved) };
}

/** Base, change and merged weight in the columns of an update; no pass runs between merging and unmerging. */
function weightsOf(linear: LoraLinear, update: LoraUpdate): tf.Tensor[] {
  const { name } = update;
  const wasMerged = linear.merged.has(name);
  if (!wasMerged) linear.merge(name);
  const merged = update.columnsOf(linear.base.dense());
  linear.unmerge(name);
  const parts = [update.columnsOf(linear.base.dense()), update.columnsOf(update.change()), merged];
  if (wasMerged) linear.merge(name);
  return parts;
}

function ratio(squares: number, ofSquares: number): number {
  return squares === 0 ? 0 : Math.sqrt(squares / ofSquares);
}
