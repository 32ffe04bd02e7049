import * as tf from '@tensorflow/tfjs-core';
import { float32Products, groupedMatMul } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  filledVariable,
  type Parameters,
  type StackedLayer,
  StackedLinear,
} from '@therapeutic-moe/nn';
import type { AdapterSwitch } from './linear-host.js';
import type { LoraLayerConfig } from './lora-plan.js';
import { initialFactor } from './lora-update.js';

/** What one adapter does to a stack of expert matrices: to each of them `W + scale A B`, all of one rank. */
export class StackedUpdate {
  /** `[experts, inputSize, r]` */
  readonly a: tf.Variable;
  /** `[experts, r, outputSize]` */
  readonly b: tf.Variable;

  /** A starts as that of a linear does, B zero. @param base gives the sizes and is not kept. */
  constructor(
    { experts, inputSize, outputSize }: StackedLayer,
    readonly config: LoraLayerConfig,
    seed: number,
  ) {
    this.a = initialFactor([experts, inputSize, config.r], config.initLoraWeights, seed);
    this.b = filledVariable([experts, config.r, outputSize], 0);
  }

  /** What is trained: `lora_A` and `lora_B`. */
  factors(): Parameters {
    return new Map([
      ['lora_A', this.a],
      ['lora_B', this.b],
    ]);
  }

  /** `scale A B` of every expert in float32, `[experts, inputSize, outputSize]`. Caller disposes. */
  delta(): tf.Tensor {
    return float32Products(() =>
      tf.tidy(() => tf.mul(tf.matMul(this.a as tf.Tensor, this.b as tf.Tensor), this.config.scale)),
    );
  }

  dispose(): void {
    tf.dispose([this.a, this.b]);
  }
}

/**
 * A stack of expert matrices with the updates of any number of adapters beside it (PEFT's `target_parameters`). Rows
 * sorted by expert go through the factors as through the matrices, by two products of rank r. Those rows no longer tell
 * sequences apart, so a pass may choose one adapter for all of its sequences, and not one for each. The base stays as it
 * is, unless adapters are merged into it.
 */
export class LoraStackedLinear implements StackedLayer {
  readonly updates = new Map<string, StackedUpdate>();
  readonly #merged = new Set<string>();
  #baseBeforeMerge: tf.Tensor | undefined;

  /** @param base owned from now on. @param adapterSwitch shared by all layers of the model. */
  constructor(
    readonly base: StackedLayer,
    readonly adapterSwitch: AdapterSwitch,
  ) {}

  get experts(): number {
    return this.base.experts;
  }

  get inputSize(): number {
    return this.base.inputSize;
  }

  get outputSize(): number {
    return this.base.outputSize;
  }

  /** The adapters that are merged into the base. */
  get merged(): ReadonlySet<string> {
    return this.#merged;
  }

  applyGrouped(x: tf.Tensor2D, offsets: readonly number[] | tf.Tensor1D, context?: ApplyContext): tf.Tensor2D {
    const used = this.#used(context);
    const through = (rows: tf.Tensor2D, factor: tf.Tensor) => groupedMatMul(rows, factor as tf.Tensor3D, offsets);
    return withUpdates(this.base.applyGrouped(x, offsets), used, ({ a, b, config }) =>
      through(tf.mul(through(x, a), config.scale), b),
    );
  }

  applyExpert(x: tf.Tensor2D, expert: number, context?: ApplyContext): tf.Tensor2D {
    const used = this.#used(context);
    const of = (stacked: tf.Tensor) => tf.squeeze<tf.Tensor2D>(tf.slice(stacked, [expert, 0, 0], [1, -1, -1]), [0]);
    return withUpdates(this.base.applyExpert(x, expert), used, ({ a, b, config }) =>
      tf.matMul(tf.mul(tf.matMul(x, of(a)), config.scale), of(b)),
    );
  }

  /** @throws always: what experts an adapter fits is not known after they have changed. */
  rebuild(): never {
    throw new Error('LoraStackedLinear.rebuild: these experts carry an adapter; merge it for good or detach it first.');
  }

  /** Adds an adapter's update to the base weights. The base is kept for `unmerge`. @throws when it is merged already. */
  merge(name: string): void {
    if (this.#merged.has(name))
      throw new Error(`LoraStackedLinear.merge: adapter '${name}' is merged already; call unmerge first.`);
    this.#baseBeforeMerge ??= tf.keep(tf.clone(this.#weight()));
    this.#merged.add(name);
    this.#computeMerged();
  }

  /** Takes an adapter out of the base weights: with the last one they have the bits they had. @throws when it is not merged. */
  unmerge(name: string): void {
    if (!this.#merged.delete(name)) throw new Error(`LoraStackedLinear.unmerge: adapter '${name}' is not merged.`);
    this.#computeMerged();
    if (this.#merged.size === 0) this.#forgetBase();
  }

  /** Leaves the base as a merged adapter made it, for good; the adapter's update is freed. @throws when others are merged. */
  absorb(name: string): void {
    if (this.#merged.size !== 1 || !this.#merged.delete(name)) {
      throw new Error(
        `LoraStackedLinear.absorb: only '${name}' must be merged, got [${[...this.#merged].join(', ')}].`,
      );
    }
    this.#forgetBase();
    this.remove(name);
  }

  /** Frees the update of an adapter. @throws when it is merged. */
  remove(name: string): void {
    if (this.#merged.has(name))
      throw new Error(`LoraStackedLinear.remove: adapter '${name}' is merged; call unmerge first.`);
    this.updates.get(name)?.dispose();
    this.updates.delete(name);
  }

  /** The base's. */
  dense(): tf.Tensor3D {
    return this.base.dense();
  }

  /** The base's alone. */
  parameters(): Parameters {
    return this.base.parameters();
  }

  dispose(): void {
    this.#merged.clear();
    for (const name of [...this.updates.keys()]) this.remove(name);
    this.#forgetBase();
    this.base.dispose();
  }

  /** The updates that take part in a pass beside the base. */
  #used({ adapters }: ApplyContext = {}): StackedUpdate[] {
    if (adapters && this.#merged.size > 0) {
      throw new Error(
        `LoraStackedLinear.apply: a pass that chooses adapters by sequence needs the plain base, but '${[...this.#merged][0]}' is merged into it; unmerge it first.`,
      );
    }
    const names = adapters ? new Set(adapters) : this.adapterSwitch.active;
    const used = [...names].flatMap((name) => {
      const update = name === null || this.#merged.has(name) ? undefined : this.updates.get(name);
      return update ? [{ name, update }] : [];
    });
    if (adapters && used.length > 0 && new Set(adapters).size > 1) {
      throw new Error(
        `LoraStackedLinear.apply: '${used[0]!.name}' adapts stacks of experts, whose rows are those of all sequences together, so it cannot be chosen for some of them; give every sequence of the batch the same adapter.`,
      );
    }
    return used.map(({ update }) => update);
  }

  #weight(): tf.Variable {
    if (this.base instanceof StackedLinear) return this.base.weight;
    throw new Error(
      'LoraStackedLinear.merge: the experts are frozen in a smaller form, which a merged weight does not fit; load the model in float32 to merge.',
    );
  }

  #computeMerged(): void {
    const kept = this.#baseBeforeMerge!;
    const deltas = () => [...this.#merged].map((name) => this.updates.get(name)!.delta());
    tf.tidy(() => this.#weight().assign(this.#merged.size === 0 ? kept : tf.addN([kept, ...deltas()])));
  }

  #forgetBase(): void {
    this.#baseBeforeMerge?.dispose();
    this.#baseBeforeMerge = undefined;
  }
}

/** @param plain what the base gives; freed where something is added. @param product `scale x A B` of an update. */
function withUpdates(
  plain: tf.Tensor2D,
  updates: readonly StackedUpdate[],
  product: (update: StackedUpdate) => tf.Tensor2D,
): tf.Tensor2D {
  if (updates.length === 0) return plain;
  const sum = tf.tidy(() => tf.addN([plain, ...updates.map(product)]));
  plain.dispose();
  return sum;
}
