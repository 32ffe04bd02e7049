import * as tf from '@tensorflow/tfjs-core';
import { seedFor } from '@therapeutic-moe/nn';
import type { LoraAdapter } from './adapter.js';
import { startsFromBase } from './base-start.js';
import {
  type CombinedFactors,
  concatenate,
  keepAtRandom,
  keepLargest,
  sumFactors,
  tiesSum,
  type WeightedFactors,
  weightedSum,
} from './combine-factors.js';
import type { LoraConfig } from './lora-config.js';
import type { LoraUpdate } from './lora-update.js';
import { uniformDraws } from './svd.js';
import { truncateProduct } from './truncate-product.js';

/** How adapters become one, under PEFT's names for the ways of `add_weighted_adapter`. */
export type Combination =
  /** A with A and B with B are summed: cheap and rough. All ranks must be equal. */
  | { readonly type: 'linear' }
  /** Factors side by side: exact, and the ranks add up. */
  | { readonly type: 'cat' }
  /** The nearest sum of a given rank; absent: the largest rank of the adapters. */
  | { readonly type: 'svd'; readonly rank?: number }
  /** TIES-Merging (arXiv:2306.01708) of A and of B. All ranks must be equal. */
  | { readonly type: 'ties'; readonly density: number; readonly majoritySign?: 'total' | 'frequency' }
  /** Drop And REscale (arXiv:2311.03099) of A and of B, then as `linear`. All ranks must be equal. */
  | { readonly type: 'dare_linear'; readonly density: number; readonly seed: number };

/** A new adapter before it is on a model. */
export interface CombinedAdapter {
  readonly config: Partial<LoraConfig>;
  /** Of each linear, at most of the config's rank, whose scale is 1. */
  readonly factors: ReadonlyMap<string, CombinedFactors>;
}

/**
 * Computes the weighted sum of adapters, on the host in float64.
 *
 * @param parts each adapter and its weight; below 0 its effect is taken away.
 * @throws when an adapter has lengths of columns, which no sum of products holds, or the way of combining does not fit.
 */
export async function combineAdapters(
  parts: ReadonlyMap<LoraAdapter, number>,
  how: Combination,
): Promise<CombinedAdapter> {
  checkCombination(parts, how);
  const paths = [...new Set([...parts.keys()].flatMap((adapter) => [...adapter.layers.keys()]))];
  const factors = new Map<string, CombinedFactors>();
  for (const path of paths) {
    const weighted = [];
    for (const [{ layers }, weight] of parts) {
      const update = layers.get(path);
      if (update) weighted.push(await readFactors(update, weight));
    }
    factors.set(path, combine(path, weighted, how, largestRank(parts)));
  }
  const r = Math.max(...[...factors.values()].map(({ a }) => a.columns));
  const { loraDropout } = [...parts.keys()][0]!.config;
  const targetModules = targetsOf([...parts.keys()], paths);
  return { config: { r, loraAlpha: r, loraDropout, targetModules }, factors };
}

/** Writes combined factors into an adapter of their config, zeros where its rank is larger. */
export function assignFactors(adapter: LoraAdapter, factors: ReadonlyMap<string, CombinedFactors>): void {
  for (const [path, { a, b }] of factors) {
    const update = adapter.layers.get(path)!;
    const spare = update.config.r - a.columns;
    tf.tidy(() => {
      const [left, right] = [a, b].map(({ values, rows, columns }) =>
        tf.tensor2d(Float32Array.from(values), [rows, columns]),
      );
      update.a.assign(
        tf.pad2d(left!, [
          [0, 0],
          [0, spare],
        ]),
      );
      update.b.assign(
        tf.pad2d(right!, [
          [0, spare],
          [0, 0],
        ]),
      );
    });
  }
}

function combine(path: string, parts: readonly WeightedFactors[], how: Combination, largest: number): CombinedFactors {
  if (how.type === 'cat') return concatenate(parts);
  if (how.type === 'svd') return truncateProduct(concatenate(parts), how.rank ?? largest);
  const ranks = parts.map(({ a }) => a.columns);
  if (new Set(ranks).size > 1) {
    throw new Error(
      `combineAdapters: '${how.type}' needs adapters of one rank, got ${ranks.join(' and ')} at ${path}; combine them with 'cat' or 'svd'.`,
    );
  }
  return sumFactors(parts, sumOf(path, how));
}

function sumOf(path: string, how: Exclude<Combination, { type: 'cat' | 'svd' }>) {
  if (how.type === 'linear') return weightedSum();
  if (how.type === 'ties') return tiesSum(keepLargest(how.density), how.majoritySign ?? 'total');
  const draw = uniformDraws(seedFor(how.seed, path)); // from -1 to 1
  return weightedSum(keepAtRandom(how.density, () => (draw() + 1) / 2));
}

async function readFactors(update: LoraUpdate, weight: number): Promise<WeightedFactors> {
  const { a, b, rank } = update;
  const factors = tf.tidy(() => [tf.clone(update.down()), tf.clone(update.up())]);
  const [left, right] = await Promise.all(factors.map((factor) => factor.data<'float32'>()));
  tf.dispose(factors);
  return {
    a: { values: left!, rows: a.shape[0]!, columns: rank },
    b: { values: right!, rows: rank, columns: b.shape[1]! },
    weight: weight * update.config.scale,
  };
}

function largestRank(parts: ReadonlyMap<LoraAdapter, number>): number {
  const updates = [...parts.keys()].flatMap(({ layers }) => [...layers.values()]);
  return Math.max(...updates.map(({ rank }) => rank));
}

/** What fits the linears of all: their lists together, or else every path. */
function targetsOf(adapters: readonly LoraAdapter[], paths: readonly string[]): readonly string[] {
  const lists = adapters.map(({ config }) => config.targetModules);
  const named = lists.flatMap((list) => (typeof list === 'string' ? [] : list));
  return lists.some((list) => typeof list === 'string') ? paths : [...new Set(named)];
}

function checkCombination(parts: ReadonlyMap<LoraAdapter, number>, how: Combination): void {
  if (parts.size === 0) throw new Error('combineAdapters: there is no adapter to combine; name one or more.');
  for (const [{ name, config }, weight] of parts) {
    if (!Number.isFinite(weight))
      throw new Error(`combineAdapters: the weight of '${name}' must be a number, got ${weight}.`);
    if (config.useDora)
      throw new Error(
        `combineAdapters: '${name}' is a DoRA adapter, whose lengths of columns no weighted sum keeps; merge it into the base instead.`,
      );
  }
  const stacked = [...parts.keys()].find(({ stacks }) => stacks.size > 0);
  if (stacked)
    throw new Error(
      `combineAdapters: '${stacked.name}' adapts stacks of experts, which are not combined, as PEFT does not; merge it into the base instead.`,
    );
  const started = [...parts.keys()].find(({ config }) => startsFromBase(config));
  if (started && parts.size > 1 && how.type !== 'cat' && how.type !== 'svd') {
    throw new Error(
      `combineAdapters: '${started.name}' took over a part of the base, so '${how.type}' cannot sum its factors one by one; combine with 'cat' or 'svd'.`,
    );
  }
  if (parts.size === 1 && how.type !== 'linear')
    throw new Error(`combineAdapters: one adapter alone is only weighed, with 'linear'; got '${how.type}'.`);
  if ('density' in how && !(how.density > 0 && how.density <= 1))
    throw new Error(`combineAdapters: density must be above 0 and at most 1, got ${how.density}.`);
  if (how.type === 'svd' && how.rank !== undefined && !(Number.isInteger(how.rank) && how.rank >= 1))
    throw new Error(`combineAdapters: rank must be a whole number of 1 or more, got ${how.rank}.`);
}
