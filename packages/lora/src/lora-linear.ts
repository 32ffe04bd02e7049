import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import { type ApplyContext, type BaseLinear, Linear, type LinearLayer, type Parameters } from '@therapeutic-moe/nn';
import type { AdapterSwitch } from './linear-host.js';
import type { LoraUpdate } from './lora-update.js';

/**
 * A linear with the updates of any number of adapters beside it. A pass computes `x W + b` and adds what the updates at
 * work change of it: those of the adapters that are switched on, or for each sequence those of the adapter it names. The
 * base stays as it is, unless adapters are merged into it.
 */
export class LoraLinear implements LinearLayer {
  readonly #updates = new Set<LoraUpdate>();
  readonly #merged = new Set<string>();
  #baseBeforeMerge: tf.Tensor | undefined;

  /** @param base owned from now on. @param adapterSwitch shared by all layers of the model. */
  constructor(
    readonly base: BaseLinear,
    readonly adapterSwitch: AdapterSwitch,
  ) {}

  get inputSize(): number {
    return this.base.inputSize;
  }

  get outputSize(): number {
    return this.base.outputSize;
  }

  /** Owned; one adapter may have several, on other columns each. */
  get updates(): ReadonlySet<LoraUpdate> {
    return this.#updates;
  }

  /** @param update of this base; owned from now on. */
  add(update: LoraUpdate): void {
    this.#updates.add(update);
  }

  /** Frees the updates of one adapter. @throws when it is merged. */
  remove(name: string): void {
    if (this.#merged.has(name)) throw new Error(`LoraLinear.remove: adapter '${name}' is merged; call unmerge first.`);
    for (const update of this.#of(name)) {
      this.#updates.delete(update);
      update.dispose();
    }
  }

  /** @param x `[batch, ..., inputSize]` or `[batch * ..., inputSize]` */
  apply(x: tf.Tensor, context?: ApplyContext): tf.Tensor {
    const used = this.#used(context);
    if (used.length === 0) return this.base.apply(x, context);
    checkRows(x, context?.adapters?.length ?? 1);
    return tf.tidy(() => {
      const plain = this.base.apply(x, context);
      const dropping = used.filter((update) => update.drops(context));
      const calm = used.filter((update) => !update.drops(context));
      const added = dropping.map((update) => {
        const input = update.dropped(x, context!);
        return this.#change([update], input, () => this.base.apply(input, context), context?.adapters);
      });
      if (calm.length > 0) added.push(this.#change(calm, x, () => plain, context?.adapters));
      return tf.addN([plain, ...added]);
    });
  }

  /** Whether the base alone answers such a pass. */
  isPlain(context?: ApplyContext): boolean {
    return this.#used(context).length === 0;
  }

  /** The adapters that are merged into the base. */
  get merged(): ReadonlySet<string> {
    return this.#merged;
  }

  /**
   * Adds an adapter's change to the base weight, so that serving is as fast as without adapters. The base is kept for
   * `unmerge`.
   */
  merge(name: string): void {
    if (this.#merged.has(name))
      throw new Error(`LoraLinear.merge: adapter '${name}' is merged already; call unmerge first.`);
    const weight = this.#weight();
    this.#baseBeforeMerge ??= tf.keep(tf.clone(weight));
    this.#merged.add(name);
    this.#computeMerged(weight);
  }

  /** Takes an adapter out of the base weight: with the last one the base has the bits it had. */
  unmerge(name: string): void {
    if (!this.#merged.delete(name)) throw new Error(`LoraLinear.unmerge: adapter '${name}' is not merged.`);
    this.#computeMerged(this.#weight());
    if (this.#merged.size > 0) return;
    this.#baseBeforeMerge!.dispose();
    this.#baseBeforeMerge = undefined;
  }

  /** Leaves the base as a merged adapter made it, for good; the adapter's updates are freed. */
  absorb(name: string): void {
    if (this.#merged.size !== 1 || !this.#merged.delete(name)) {
      throw new Error(`LoraLinear.absorb: only '${name}' must be merged, got [${[...this.#merged].join(', ')}].`);
    }
    this.#baseBeforeMerge!.dispose();
    this.#baseBeforeMerge = undefined;
    this.remove(name);
  }

  /** The base's parameters under their own names, then the factors by adapter. */
  parameters(): Parameters {
    const parameters = new Map(this.base.parameters());
    for (const [i, update] of [...this.#updates].entries())
      for (const [name, factor] of update.factors()) parameters.set(`${name}.${update.name}.${i}`, factor);
    return parameters;
  }

  dispose(): void {
    for (const update of this.#updates) update.dispose();
    this.#updates.clear();
    this.#merged.clear();
    this.#baseBeforeMerge?.dispose();
    this.#baseBeforeMerge = undefined;
    this.base.dispose();
  }

  #of(name: string): LoraUpdate[] {
    return [...this.#updates].filter((update) => update.name === name);
  }

  /** The updates that take part in a pass beside the base. */
  #used({ adapters }: ApplyContext = {}): LoraUpdate[] {
    if (!adapters) {
      const { active } = this.adapterSwitch;
      const used = [...this.#updates].filter(({ name }) => active.includes(name) && !this.#merged.has(name));
      const stretching = used.find(({ magnitude }) => magnitude);
      if (this.#merged.size === 0 || !stretching) return used;
      throw new Error(
        `LoraLinear.apply: '${stretching.name}' gives the columns of the plain base lengths, but '${[...this.#merged][0]}' is merged into it; call unmerge first.`,
      );
    }
    if (this.#merged.size > 0) {
      throw new Error(
        `LoraLinear.apply: a pass that chooses adapters by sequence needs the plain base, but '${[...this.#merged][0]}' is merged into it; call unmerge first.`,
      );
    }
    return [...this.#updates].filter(({ name }) => adapters.includes(name));
  }

  /**
   * What updates add to the base's output. Their factors lie side by side, so that all of them are two products; rows of
   * sequences that do not use an update are zero between the two.
   *
   * @param input `[..., inputSize]`.
   * @param product `input W + b`, asked for where columns have lengths.
   * @returns `[..., outputSize]`
   */
  #change(
    updates: readonly LoraUpdate[],
    input: tf.Tensor,
    product: () => tf.Tensor,
    adapters: ApplyContext['adapters'],
  ): tf.Tensor {
    const sequences = adapters?.length ?? 1;
    const gains = updates.map((update) => update.gain());
    const bs = updates.map((update, i) => update.widened(gains[i] ? tf.mul(update.b, gains[i]) : update.b));
    const narrow = matMul(
      input,
      sideBySide(
        updates.map(({ a }) => a),
        1,
      ),
    );
    const scales = updates.flatMap((update) => Array<LoraUpdate>(update.config.r).fill(update));
    const shares = sharesOf(scales, adapters, ({ config }) => config.scale);
    const scaled = bySequence(narrow, sequences, (rows) => tf.mul(rows, shares));
    const change = matMul(scaled, sideBySide(bs, 0));
    const stretching = updates.filter((_, i) => gains[i]);
    if (stretching.length === 0) return change;
    const stretches = stretching.map((update) => update.widened(tf.sub(gains[updates.indexOf(update)]!, 1)));
    const stretch = matMul(
      tf.squeeze(
        sharesOf(stretching, adapters, () => 1),
        [1],
      ),
      tf.stack(stretches),
    );
    const stretched = bySequence(this.#withoutBias(product()), sequences, (rows) =>
      tf.mul(rows, tf.expandDims(stretch, 1)),
    );
    return tf.add(change, stretched);
  }

  #withoutBias(product: tf.Tensor): tf.Tensor {
    return this.base.bias ? tf.sub(product, this.base.bias) : product;
  }

  #weight(): tf.Variable {
    if (this.base instanceof Linear) return this.base.weight;
    throw new Error(
      'LoraLinear.merge: the base is frozen in a smaller form, which a merged weight does not fit; load the model in float32 to merge.',
    );
  }

  /** What is merged is always computed from the kept base, so nothing adds up over merging and unmerging. */
  #computeMerged(weight: tf.Variable): void {
    const kept = this.#baseBeforeMerge!;
    weight.assign(kept);
    const merged = [...this.#updates].filter(({ name }) => this.#merged.has(name));
    if (merged.length > 0) tf.tidy(() => weight.assign(tf.addN([kept, ...merged.map((update) => update.change())])));
  }
}

/** Tensors one beside the other. */
function sideBySide(tensors: readonly tf.Tensor[], axis: number): tf.Tensor {
  return tensors.length === 1 ? tensors[0]! : tf.concat([...tensors], axis);
}

/** `[sequences, 1, updates]`: the value of each update where the sequence uses it, 0 where not. */
function sharesOf(
  updates: readonly LoraUpdate[],
  adapters: ApplyContext['adapters'],
  valueIn: (update: LoraUpdate) => number,
): tf.Tensor {
  const rows = adapters ?? [undefined];
  const values = rows.map((name) =>
    updates.map((update) => (name === undefined || name === update.name ? valueIn(update) : 0)),
  );
  return tf.tensor3d(values.flat(), [rows.length, 1, updates.length]);
}

function checkRows(x: tf.Tensor, sequences: number): void {
  const rows = x.size / x.shape.at(-1)!;
  if (rows % sequences === 0) return;
  throw new Error(
    `LoraLinear.apply: adapters name ${sequences} sequences, but the ${rows} rows of x [${x.shape.join(', ')}] do not share out equally among them.`,
  );
}

/** Computes on `[sequences, rows of each, columns]` and gives the shape back. */
function bySequence(x: tf.Tensor, sequences: number, compute: (rows: tf.Tensor) => tf.Tensor): tf.Tensor {
  return tf.reshape(compute(tf.reshape(x, [sequences, -1, x.shape.at(-1)!])), x.shape);
}
