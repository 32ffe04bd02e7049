import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '@therapeutic-moe/kernels';
import { filledVariable, normalVariable, type Parameters } from '@therapeutic-moe/nn';

/** What domains add to one projection: for each token a mix of what the domains have of their own. */
export interface DomainTerm {
  readonly domains: number;
  /** Absent: the term does not look at the input. */
  readonly inputSize?: number;
  readonly outputSize: number;
  /**
   * @param x `[tokens, input]`.
   * @param mix `[tokens, domains]`, how much of each domain a token takes.
   * @returns `[tokens, output]`. Caller disposes.
   */
  apply(x: tf.Tensor2D, mix: tf.Tensor2D): tf.Tensor2D;
  parameters(): Parameters;
  dispose(): void;
}

/** Sizes of the terms of one projection. */
export interface DomainTermSizes {
  readonly domains: number;
  readonly inputSize: number;
  readonly outputSize: number;
}

/** A bias of each domain: `sum_d w_d b_d`. */
export class DomainBiases implements DomainTerm {
  /** @param bias `[domains, output]`, owned by this term from now on. */
  constructor(readonly bias: tf.Variable) {
    checkRank('DomainBiases: bias', bias, ['domains', 'output']);
  }

  /** Zeros, which change nothing. */
  static create({ domains, outputSize }: Omit<DomainTermSizes, 'inputSize'>): DomainBiases {
    return new DomainBiases(filledVariable([domains, outputSize], 0));
  }

  get domains(): number {
    return this.bias.shape[0]!;
  }

  get outputSize(): number {
    return this.bias.shape[1]!;
  }

  apply(_x: tf.Tensor2D, mix: tf.Tensor2D): tf.Tensor2D {
    return matMul(mix, this.bias) as tf.Tensor2D;
  }

  parameters(): Parameters {
    return new Map([['bias', this.bias]]);
  }

  dispose(): void {
    this.bias.dispose();
  }
}

/** A matrix of each domain: `sum_d w_d (x W_d)`, as one product of `[tokens, domains * input]`. */
export class DomainProjections implements DomainTerm {
  /** @param weight `[domains, input, output]`, owned by this term from now on. */
  constructor(readonly weight: tf.Variable) {
    checkRank('DomainProjections: weight', weight, ['domains', 'input', 'output']);
  }

  /** Zeros, which change nothing. */
  static create({ domains, inputSize, outputSize }: DomainTermSizes): DomainProjections {
    return new DomainProjections(filledVariable([domains, inputSize, outputSize], 0));
  }

  get domains(): number {
    return this.weight.shape[0]!;
  }

  get inputSize(): number {
    return this.weight.shape[1]!;
  }

  get outputSize(): number {
    return this.weight.shape[2]!;
  }

  apply(x: tf.Tensor2D, mix: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const weighed = tf.mul(tf.expandDims(x, 1), tf.expandDims(mix, 2)); // [tokens, domains, input]
      return productOverDomains(weighed, this.weight);
    });
  }

  parameters(): Parameters {
    return new Map([['weight', this.weight]]);
  }

  dispose(): void {
    this.weight.dispose();
  }
}

/**
 * A matrix of low rank of each domain: `sum_d w_d (x A_d) B_d`, a mixture of low-rank adapters (MoLE, arXiv:2404.13628;
 * LoRA, arXiv:2106.09685) as two products over all domains together.
 */
export class LowRankDomainProjections implements DomainTerm {
  /**
   * @param down `[input, domains, rank]`: A, with the domains side by side. Owned by this term from now on.
   * @param up `[domains, rank, output]`: B, likewise.
   */
  constructor(
    readonly down: tf.Variable,
    readonly up: tf.Variable,
  ) {
    checkRank('LowRankDomainProjections: down', down, ['input', 'domains', 'rank']);
    checkRank('LowRankDomainProjections: up', up, ['domains', 'rank', 'output']);
    if (down.shape[1] !== up.shape[0] || down.shape[2] !== up.shape[1]) {
      throw new Error(
        `LowRankDomainProjections: down [${down.shape.join(', ')}] and up [${up.shape.join(', ')}] must agree in domains and rank.`,
      );
    }
  }

  /** A normally distributed, B zero, so that it changes nothing yet. */
  static create(
    { domains, inputSize, outputSize }: DomainTermSizes,
    { rank, deviation, seed }: { rank: number; deviation: number; seed: number },
  ): LowRankDomainProjections {
    const down = normalVariable([inputSize, domains, rank], deviation, seed);
    return new LowRankDomainProjections(down, filledVariable([domains, rank, outputSize], 0));
  }

  get domains(): number {
    return this.up.shape[0]!;
  }

  get inputSize(): number {
    return this.down.shape[0]!;
  }

  get outputSize(): number {
    return this.up.shape[2]!;
  }

  apply(x: tf.Tensor2D, mix: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const [input, domains, rank] = this.down.shape as [number, number, number];
      const inner = matMul(x, tf.reshape(this.down as tf.Tensor, [input, domains * rank]));
      const weighed = tf.mul(tf.reshape(inner, [-1, domains, rank]), tf.expandDims(mix, 2));
      return productOverDomains(weighed, this.up);
    });
  }

  parameters(): Parameters {
    return new Map([
      ['down', this.down],
      ['up', this.up],
    ]);
  }

  dispose(): void {
    tf.dispose([this.down, this.up]);
  }
}

/** `sum_d x_d W_d`: `[tokens, domains, n]` by `[domains, n, output]`, as one product. */
function productOverDomains(x: tf.Tensor, weight: tf.Variable): tf.Tensor2D {
  const [domains, n, output] = weight.shape as [number, number, number];
  const stacked = tf.reshape(weight as tf.Tensor, [domains * n, output]);
  return matMul(tf.reshape(x, [-1, domains * n]), stacked) as tf.Tensor2D;
}

function checkRank(what: string, { rank, shape }: tf.Tensor, axes: readonly string[]): void {
  if (rank !== axes.length || shape.includes(0))
    throw new Error(`${what} must be [${axes.join(', ')}], 1 or more each, got [${shape.join(', ')}].`);
}
