import * as tf from '@tensorflow/tfjs-core';
import { freshLayers, type LayerFactory, type Parameters, type StackedLayer, seedFor } from '@therapeutic-moe/nn';
import type { ExpertRows, Experts } from './experts.js';
import { gelu, type HiddenAct, refuseHiddenAct } from './gelu.js';
import { stackedSizes, stackedWeights } from './stacked-layers.js';
import { StackedVector } from './stacked-vector.js';

/** One vector per expert after each product. */
export interface GeluBiases {
  /** `[experts, intermediate]` */
  readonly up: StackedVector;
  /** `[experts, hidden]` */
  readonly down: StackedVector;
}

/** Experts `down(gelu(up x))`, the feed-forward of GPT-2 and BERT (arXiv:1606.08415). */
export class GeluExperts implements Experts {
  /**
   * @param up `[experts, hidden, intermediate]`; owned from now on.
   * @param down `[experts, intermediate, hidden]`; owned from now on.
   * @param biases owned from now on.
   */
  constructor(
    readonly up: StackedLayer,
    readonly down: StackedLayer,
    readonly hiddenAct: HiddenAct,
    readonly biases?: GeluBiases,
  ) {
    refuseHiddenAct('GeluExperts', hiddenAct);
    if (up.experts !== down.experts || up.outputSize !== down.inputSize || up.inputSize !== down.outputSize) {
      throw new Error(
        'GeluExperts: up [experts, hidden, intermediate] and down [experts, intermediate, hidden] do not fit: ' +
          `${stackedSizes(up)} and ${stackedSizes(down)}.`,
      );
    }
    for (const part of biases ? (['up', 'down'] as const) : []) {
      const expected = [up.experts, this[part].outputSize];
      const got = biases![part].weight.shape;
      if (got.join() !== expected.join()) {
        throw new Error(`GeluExperts: biases.${part} must be [${expected.join(', ')}], got [${got.join(', ')}].`);
      }
    }
  }

  /** Normally distributed weights, zero biases where asked for. */
  static create(
    { experts, hidden, intermediate }: { experts: number; hidden: number; intermediate: number },
    {
      deviation,
      downDeviation,
      hiddenAct = 'gelu',
      bias = false,
      seed,
    }: { deviation: number; downDeviation: number; hiddenAct?: HiddenAct; bias?: boolean; seed: number },
    layers: LayerFactory = freshLayers,
  ): GeluExperts {
    const matrix = (path: string, inputSize: number, outputSize: number, spread: number) =>
      layers.stacked(path, experts, inputSize, outputSize, { deviation: spread, seed: seedFor(seed, path) });
    return new GeluExperts(
      matrix('up_proj', hidden, intermediate, deviation),
      matrix('down_proj', intermediate, hidden, downDeviation),
      hiddenAct,
      bias
        ? { up: StackedVector.filled(experts, intermediate, 0), down: StackedVector.filled(experts, hidden, 0) }
        : undefined,
    );
  }

  get experts(): number {
    return this.up.experts;
  }

  get hidden(): number {
    return this.up.inputSize;
  }

  applyGrouped(rows: tf.Tensor2D, { offsets, groupOfRow }: ExpertRows): tf.Tensor2D {
    return tf.tidy(() => {
      const bias = (part: 'up' | 'down') => this.biases?.[part].ofRows(groupOfRow);
      const inner = gelu(addBias(this.up.applyGrouped(rows, offsets), bias('up')), this.hiddenAct);
      return addBias(this.down.applyGrouped(inner, offsets), bias('down'));
    });
  }

  applyExpert(hidden: tf.Tensor2D, expert: number): tf.Tensor2D {
    return tf.tidy(() => {
      const bias = (part: 'up' | 'down') => this.biases?.[part].ofExpert(expert);
      const inner = gelu(addBias(this.up.applyExpert(hidden, expert), bias('up')), this.hiddenAct);
      return addBias(this.down.applyExpert(inner, expert), bias('down'));
    });
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): GeluExperts {
    const biases = this.biases && { up: this.biases.up.rebuild(change), down: this.biases.down.rebuild(change) };
    return new GeluExperts(this.up.rebuild(change), this.down.rebuild(change), this.hiddenAct, biases);
  }

  parameters(): Parameters {
    const biases = this.biases && { up_proj_bias: this.biases.up, down_proj_bias: this.biases.down };
    return new Map([
      ...stackedWeights({ up_proj: this.up, down_proj: this.down }),
      ...Object.entries(biases ?? {}).map(([name, { weight }]) => [name, weight] as const),
    ]);
  }

  dispose(): void {
    for (const part of [this.up, this.down, this.biases?.up, this.biases?.down]) part?.dispose();
  }
}

function addBias(x: tf.Tensor2D, bias: tf.Tensor2D | undefined): tf.Tensor2D {
  return bias ? tf.add(x, bias) : x;
}
