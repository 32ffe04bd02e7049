import * as tf from '@tensorflow/tfjs-core';
import { swiGlu } from '@therapeutic-moe/kernels';
import {
  type ApplyContext,
  freshLayers,
  joinParameters,
  type LayerFactory,
  Linear,
  type LinearLayer,
  type Parameters,
  seedFor,
} from '@therapeutic-moe/nn';

/**
 * A gated feed-forward that every token visits beside its routed experts (DeepSeekMoE, arXiv:2401.06066), optionally
 * weighed by a sigmoid gate of the token (Qwen2-MoE, arXiv:2407.10671). Its output is added to the routed one.
 */
export class SharedExpert {
  /**
   * @param gateUp `[hidden, 2 * intermediate]`, gate first; owned from now on.
   * @param down `[intermediate, hidden]`; owned from now on.
   * @param gate `[hidden, 1]`; owned from now on. Absent: the output counts in full.
   */
  constructor(
    public gateUp: LinearLayer,
    public down: LinearLayer,
    public gate?: LinearLayer,
  ) {
    if (gateUp.outputSize !== 2 * down.inputSize || gateUp.inputSize !== down.outputSize) {
      throw new Error(
        'SharedExpert: gateUp [hidden, 2 * intermediate] and down [intermediate, hidden] do not fit: ' +
          `[${gateUp.inputSize}, ${gateUp.outputSize}] and [${down.inputSize}, ${down.outputSize}].`,
      );
    }
    if (gate && (gate.inputSize !== gateUp.inputSize || gate.outputSize !== 1)) {
      throw new Error(
        `SharedExpert: gate must be [${gateUp.inputSize}, 1], got [${gate.inputSize}, ${gate.outputSize}].`,
      );
    }
  }

  /** Normally distributed weights. */
  static create(
    { hidden, intermediate }: { hidden: number; intermediate: number },
    {
      deviation,
      downDeviation,
      gate = false,
      seed,
    }: { deviation: number; downDeviation: number; gate?: boolean; seed: number },
    layers: LayerFactory = freshLayers,
  ): SharedExpert {
    const shared = (name: string, inputSize: number, outputSize: number, spread: number) =>
      layers.linear(`shared_expert.${name}`, inputSize, outputSize, { deviation: spread, seed: seedFor(seed, name) });
    return new SharedExpert(
      shared('gate_up_proj', hidden, 2 * intermediate, deviation),
      shared('down_proj', intermediate, hidden, downDeviation),
      gate ? Linear.create(hidden, 1, { deviation, seed: seedFor(seed, 'shared_expert_gate') }) : undefined,
    );
  }

  get hidden(): number {
    return this.gateUp.inputSize;
  }

  /** @param hidden `[tokens, hidden]` @returns the same shape. Caller disposes. */
  apply(hidden: tf.Tensor2D, context?: ApplyContext): tf.Tensor2D {
    return tf.tidy(() => {
      const inner = swiGlu(this.gateUp.apply(hidden, context) as tf.Tensor2D);
      const output = this.down.apply(inner, context) as tf.Tensor2D;
      return this.gate ? tf.mul(output, tf.sigmoid(this.gate.apply(hidden, context))) : output;
    });
  }

  parameters(): Parameters {
    return joinParameters({
      'shared_expert.gate_up_proj': this.gateUp,
      'shared_expert.down_proj': this.down,
      ...(this.gate && { shared_expert_gate: this.gate }),
    });
  }

  dispose(): void {
    for (const part of [this.gateUp, this.down, this.gate]) part?.dispose();
  }
}
