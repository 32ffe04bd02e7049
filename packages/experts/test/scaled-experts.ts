import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from '@therapeutic-moe/nn';
import type { ExpertRows, Experts, SwiGluExperts } from '../src/index.js';

/** SwiGLU experts whose outputs all pass one shared scale: the smallest kind that has a parameter of all experts. */
export class ScaledExperts implements Experts {
  /** @param inner owned from now on. @param scale `[hidden]`, likewise. */
  constructor(
    readonly inner: SwiGluExperts,
    readonly scale: tf.Variable,
  ) {}

  get experts(): number {
    return this.inner.experts;
  }

  get hidden(): number {
    return this.inner.hidden;
  }

  applyGrouped(rows: tf.Tensor2D, groups: ExpertRows): tf.Tensor2D {
    return tf.tidy(() => tf.mul(this.inner.applyGrouped(rows, groups), this.scale));
  }

  applyExpert(hidden: tf.Tensor2D, expert: number): tf.Tensor2D {
    return tf.tidy(() => tf.mul(this.inner.applyExpert(hidden, expert), this.scale));
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): ScaledExperts {
    return new ScaledExperts(
      this.inner.rebuild(change),
      tf.tidy(() => tf.variable(tf.clone(this.scale as tf.Tensor))),
    );
  }

  parameters(): Parameters {
    return new Map([...this.inner.parameters(), ['scale', this.scale]]);
  }

  dispose(): void {
    this.inner.dispose();
    this.scale.dispose();
  }
}
