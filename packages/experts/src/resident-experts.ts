import * as tf from '@tensorflow/tfjs-core';
import { combineRows, dispatchRows, matMul, swiGlu } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import type { SortPlan } from './sort-plan.js';

/** One SwiGLU expert's weights on the host, under the names of the fused checkpoint layout. */
export interface HostExpert {
  /** `[hidden, 2 * intermediate]` row by row, gate first. */
  readonly gate_up_proj: Float32Array;
  /** `[intermediate, hidden]` row by row. */
  readonly down_proj: Float32Array;
}

/** Where resident experts come from and how much memory they may have. */
export interface ResidentOptions {
  readonly experts: number;
  readonly hidden: number;
  readonly intermediate: number;
  /** Bytes of expert weights that may be on the device at once. */
  readonly budgetBytes: number;
  /** Brings one expert's weights, from memory or a file; the arrays must not be written to afterwards. */
  load(expert: number): HostExpert;
}

/** What paging has cost so far. */
export interface PagingCounts {
  /** Uses of an expert that was not on the device. */
  readonly loads: number;
  /** Uses of an expert that was. */
  readonly hits: number;
  readonly evictions: number;
}

interface DeviceExpert {
  readonly gateUp: tf.Tensor2D;
  readonly down: tf.Tensor2D;
}

/**
 * SwiGLU experts of which only some are on the device: those with rows are paged in on demand under a byte budget, and
 * the least recently used make room (expert offloading, arXiv:2312.17238). For inference only, which is why this is not
 * an `Experts`: there are no variables to train, save or rebuild.
 */
export class ResidentExperts {
  readonly experts: number;
  readonly hidden: number;
  readonly bytesPerExpert: number;
  /** Least recently used first. */
  readonly #resident = new Map<number, DeviceExpert>();
  #counts: PagingCounts = { loads: 0, hits: 0, evictions: 0 };

  /** @throws when a size is not a positive whole number, or the budget is below one expert. */
  constructor(readonly options: ResidentOptions) {
    for (const field of ['experts', 'hidden', 'intermediate'] as const) {
      if (!Number.isInteger(options[field]) || options[field] < 1) {
        throw new Error(`ResidentExperts: ${field} must be a whole number of 1 or more, got ${options[field]}.`);
      }
    }
    this.experts = options.experts;
    this.hidden = options.hidden;
    this.bytesPerExpert = 3 * options.hidden * options.intermediate * Float32Array.BYTES_PER_ELEMENT;
    if (!(options.budgetBytes >= this.bytesPerExpert)) {
      throw new Error(
        `ResidentExperts: budgetBytes is ${options.budgetBytes}, but one expert takes ${this.bytesPerExpert}; give room for one at least.`,
      );
    }
  }

  /** Bytes of expert weights on the device now; never above the budget. */
  get residentBytes(): number {
    return this.#resident.size * this.bytesPerExpert;
  }

  counts(): PagingCounts {
    return this.#counts;
  }

  /**
   * The layer on a plan from the host: `sortByExpert(await routing.indices.data(), ...)` works on every backend. Experts
   * without rows are not touched; those on the device go first, so that loading does not drive out what is needed next.
   *
   * @param hidden `[tokens, hidden]`. @param weights `[tokens, k]`.
   * @returns `[tokens, hidden]`. Caller disposes.
   * @throws when the plan does not fit, a loaded expert has other sizes, or a gradient to the hidden states is asked for.
   */
  apply(hidden: tf.Tensor2D, weights: tf.Tensor2D, plan: SortPlan): tf.Tensor2D {
    const [tokens, k] = plan.rowOfChoice.shape;
    dims('ResidentExperts.apply: hidden', hidden, ['tokens', 'hidden'], { tokens, hidden: this.hidden });
    dims('ResidentExperts.apply: weights', weights, ['tokens', 'k'], { tokens, k });
    if (plan.offsets.length !== this.experts + 1) {
      throw new Error(
        `ResidentExperts.apply: the plan is of ${plan.offsets.length - 1} experts, but there are ${this.experts}.`,
      );
    }
    const run = tf.customGrad((rows) => ({
      value: tf.tidy(() => this.#applyGrouped(rows as tf.Tensor2D, plan.offsets)),
      gradFunc: () => {
        throw new Error(
          'ResidentExperts: inference only, a gradient was asked for; train with SwiGluExperts, which keep all weights.',
        );
      },
    }));
    return tf.tidy(() => combineRows(run(dispatchRows(hidden, plan)) as tf.Tensor2D, weights, plan));
  }

  dispose(): void {
    for (const { gateUp, down } of this.#resident.values()) tf.dispose([gateUp, down]);
    this.#resident.clear();
  }

  #applyGrouped(rows: tf.Tensor2D, offsets: readonly number[]): tf.Tensor2D {
    const used = Array.from({ length: this.experts }, (_, e) => e).filter((e) => offsets[e + 1]! > offsets[e]!);
    const residentFirst = used.toSorted((a, b) => Number(this.#resident.has(b)) - Number(this.#resident.has(a)));
    const answers = new Map<number, tf.Tensor2D>();
    for (const expert of residentFirst) {
      const own = tf.slice(rows, [offsets[expert]!, 0], [offsets[expert + 1]! - offsets[expert]!, -1]);
      const { gateUp, down } = this.#bring(expert);
      answers.set(expert, matMul(swiGlu(matMul(own, gateUp) as tf.Tensor2D), down) as tf.Tensor2D);
    }
    if (used.length === 0) return tf.zerosLike(rows);
    return tf.concat2d(
      used.map((expert) => answers.get(expert)!),
      0,
    );
  }

  /** The expert on the device, most recently used from now on. */
  #bring(expert: number): DeviceExpert {
    const { loads, hits, evictions } = this.#counts;
    const here = this.#resident.get(expert);
    if (here) {
      this.#resident.delete(expert);
      this.#resident.set(expert, here);
      this.#counts = { loads, hits: hits + 1, evictions };
      return here;
    }
    const weights = this.#load(expert);
    const evicted = this.#makeRoom();
    const { hidden, intermediate } = this.options;
    const brought = {
      gateUp: tf.keep(tf.tensor2d(weights.gate_up_proj, [hidden, 2 * intermediate])),
      down: tf.keep(tf.tensor2d(weights.down_proj, [intermediate, hidden])),
    };
    this.#resident.set(expert, brought);
    this.#counts = { loads: loads + 1, hits, evictions: evictions + evicted };
    return brought;
  }

  /** @throws when what was loaded has other sizes. */
  #load(expert: number): HostExpert {
    const { hidden, intermediate, load } = this.options;
    const weights = load(expert);
    const sizes = { gate_up_proj: hidden * 2 * intermediate, down_proj: intermediate * hidden };
    for (const name of ['gate_up_proj', 'down_proj'] as const) {
      if (weights[name]?.length !== sizes[name]) {
        throw new Error(
          `ResidentExperts: load(${expert}) must give ${sizes[name]} numbers as ${name}, got ${weights[name]?.length ?? 'none'}.`,
        );
      }
    }
    return weights;
  }

  /** Evicts until one more expert fits; returns how many had to go. */
  #makeRoom(): number {
    let evicted = 0;
    for (const [expert, { gateUp, down }] of this.#resident) {
      if (this.residentBytes + this.bytesPerExpert <= this.options.budgetBytes) break;
      tf.dispose([gateUp, down]);
      this.#resident.delete(expert);
      evicted++;
    }
    return evicted;
  }
}
