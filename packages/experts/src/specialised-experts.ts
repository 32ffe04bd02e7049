import * as tf from '@tensorflow/tfjs-core';
import { gather } from '@therapeutic-moe/kernels';
import { type Parameters, seedFor } from '@therapeutic-moe/nn';
import type { ExpertPass, ExpertRows, Experts } from './experts.js';
import type { StackedRmsNorm } from './stacked-rms-norm.js';

/** What makes experts specialised besides their weights. */
export interface Specialisation {
  /** One name per expert. A rebuilt layer has none: who rebuilds knows which expert is which. */
  readonly domains?: readonly string[];
  /** Share of each expert's input that is dropped while training. */
  readonly dropout: number;
}

/**
 * Experts for one domain each: every expert normalises its input by a scale of its own and drops a share of it before
 * its feed-forward, `ffn_e(dropout_e(norm_e(x)))`.
 *
 * Dropout draws one number per token and element and pass, and turns it by a step of its own for each expert, so that
 * experts drop different elements, and one expert drops the same ones of a token whatever the dispatch.
 */
export class SpecialisedExperts implements Experts {
  /** @param norm `[experts, hidden]`; owned from now on. @param inner the feed-forwards; owned from now on. */
  constructor(
    readonly norm: StackedRmsNorm,
    readonly inner: Experts,
    readonly specialisation: Specialisation,
  ) {
    const { scale } = norm;
    if (scale.experts !== inner.experts || scale.size !== inner.hidden) {
      throw new Error(
        `SpecialisedExperts: norm must be [${inner.experts}, ${inner.hidden}] for its experts, got [${scale.weight.shape.join(', ')}].`,
      );
    }
    const { domains, dropout } = specialisation;
    if (!(dropout >= 0 && dropout < 1)) {
      throw new Error(`SpecialisedExperts: dropout must be in [0, 1), got ${dropout}.`);
    }
    if (domains) refuseDomains(domains, inner.experts);
  }

  get experts(): number {
    return this.inner.experts;
  }

  get hidden(): number {
    return this.inner.hidden;
  }

  applyGrouped(rows: tf.Tensor2D, groups: ExpertRows, pass?: ExpertPass): tf.Tensor2D {
    return tf.tidy(() => {
      const normed = this.norm.applyGrouped(rows, groups.groupOfRow);
      const draws = this.#draws(groups.tokens, pass);
      if (!draws) return this.inner.applyGrouped(normed, groups, pass);
      const turns = tf.tensor2d(
        Float32Array.from({ length: this.experts }, (_, e) => turnOf(e)),
        [this.experts, 1],
      );
      const kept = this.#drop(normed, gather(draws, groups.tokenOfRow), gather(turns, groups.groupOfRow));
      return this.inner.applyGrouped(kept, groups, pass);
    });
  }

  applyExpert(hidden: tf.Tensor2D, expert: number, visits: tf.Tensor1D, pass?: ExpertPass): tf.Tensor2D {
    return tf.tidy(() => {
      const normed = this.norm.applyExpert(hidden, expert);
      const tokens = hidden.shape[0];
      const draws = this.#draws(tokens, pass);
      if (!draws) return this.inner.applyExpert(normed, expert, visits, pass);
      const kept = this.#drop(normed, tf.slice(draws, [0, 0], [tokens, -1]), tf.scalar(turnOf(expert)));
      return this.inner.applyExpert(kept, expert, visits, pass);
    });
  }

  /** `[tokens + 1, hidden]` in `[0, 1)`, the last row for empty rows; nothing where nothing is dropped. */
  #draws(tokens: number, pass?: ExpertPass): tf.Tensor2D | undefined {
    if (pass?.seed === undefined || this.specialisation.dropout === 0) return undefined;
    return tf.randomUniform([tokens + 1, this.hidden], 0, 1, 'float32', seedFor(pass.seed, 'expert_dropout'));
  }

  #drop(x: tf.Tensor2D, draws: tf.Tensor, turn: tf.Tensor): tf.Tensor2D {
    const { dropout } = this.specialisation;
    const turned = tf.add(draws, turn);
    const kept = tf.cast(tf.greaterEqual(tf.sub(turned, tf.floor(turned)), dropout), 'float32');
    return tf.mul(x, tf.div(kept, 1 - dropout));
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): SpecialisedExperts {
    const { dropout } = this.specialisation;
    return new SpecialisedExperts(this.norm.rebuild(change), this.inner.rebuild(change), { dropout });
  }

  parameters(): Parameters {
    return new Map([['norm', this.norm.scale.weight], ...this.inner.parameters()]);
  }

  dispose(): void {
    this.norm.dispose();
    this.inner.dispose();
  }
}

/** Multiples of the golden ratio, modulo 1, lie as far from each other as points on a circle can. */
function turnOf(expert: number): number {
  return Math.fround((expert * 0.6180339887498949) % 1);
}

function refuseDomains(domains: readonly string[], experts: number): void {
  if (domains.length !== experts) {
    throw new Error(
      `SpecialisedExperts: domains names ${domains.length} (${domains.join(', ')}) but there are ${experts} experts; give one name each.`,
    );
  }
  const twice = domains.find((name, i) => name === '' || domains.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new Error(`SpecialisedExperts: domains must be different and not empty, got '${twice}' in [${domains}].`);
  }
}
