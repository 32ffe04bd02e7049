import * as tf from '@tensorflow/tfjs-core';
import { swiGlu } from '@therapeutic-moe/kernels';
import { freshLayers, type LayerFactory, type Parameters, type StackedLayer, seedFor } from '@therapeutic-moe/nn';
import type { ExpertPass, ExpertRows, Experts } from './experts.js';
import { stackedSizes, stackedWeights } from './stacked-layers.js';

/**
 * Experts `down(silu(gate x) * (up x))` (arXiv:2002.05202), gate and up side by side as in Hugging Face's fused layout.
 */
export class SwiGluExperts implements Experts {
  /**
   * @param gateUp `[experts, hidden, 2 * intermediate]`, gate first; owned from now on.
   * @param down `[experts, intermediate, hidden]`; owned from now on.
   */
  constructor(
    public gateUp: StackedLayer,
    public down: StackedLayer,
  ) {
    const fits =
      gateUp.experts === down.experts &&
      gateUp.outputSize === 2 * down.inputSize &&
      gateUp.inputSize === down.outputSize;
    if (!fits) {
      throw new Error(
        `SwiGluExperts: gateUp [experts, hidden, 2 * intermediate] and down [experts, intermediate, hidden] do not fit: ` +
          `${stackedSizes(gateUp)} and ${stackedSizes(down)}.`,
      );
    }
  }

  /** Normally distributed weights; `downDeviation` is usually smaller, to keep the residual stream calm at depth. */
  static create(
    { experts, hidden, intermediate }: { experts: number; hidden: number; intermediate: number },
    { deviation, downDeviation, seed }: { deviation: number; downDeviation: number; seed: number },
    layers: LayerFactory = freshLayers,
  ): SwiGluExperts {
    const matrix = (path: string, inputSize: number, outputSize: number, spread: number) =>
      layers.stacked(path, experts, inputSize, outputSize, { deviation: spread, seed: seedFor(seed, path) });
    return new SwiGluExperts(
      matrix('gate_up_proj', hidden, 2 * intermediate, deviation),
      matrix('down_proj', intermediate, hidden, downDeviation),
    );
  }

  get experts(): number {
    return this.gateUp.experts;
  }

  get hidden(): number {
    return this.gateUp.inputSize;
  }

  applyGrouped(rows: tf.Tensor2D, { offsets }: ExpertRows, { context }: ExpertPass = {}): tf.Tensor2D {
    return tf.tidy(() => {
      const inner = swiGlu(this.gateUp.applyGrouped(rows, offsets, context));
      return this.down.applyGrouped(inner, offsets, context);
    });
  }

  applyExpert(hidden: tf.Tensor2D, expert: number, _visits?: tf.Tensor1D, { context }: ExpertPass = {}): tf.Tensor2D {
    return tf.tidy(() => {
      const inner = swiGlu(this.gateUp.applyExpert(hidden, expert, context));
      return this.down.applyExpert(inner, expert, context);
    });
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): SwiGluExperts {
    return new SwiGluExperts(this.gateUp.rebuild(change), this.down.rebuild(change));
  }

  parameters(): Parameters {
    return stackedWeights({ gate_up_proj: this.gateUp, down_proj: this.down });
  }

  dispose(): void {
    this.gateUp.dispose();
    this.down.dispose();
  }
}
