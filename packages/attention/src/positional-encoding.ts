import * as tf from '@tensorflow/tfjs-core';
import { dims, filledVariable, normalVariable, type Parameters } from '@therapeutic-moe/nn';

type Start = number | readonly number[];

/** Tells a model where tokens stand by adding a vector for each position to the hidden states. */
export interface PositionalEncoding {
  /**
   * @param hidden `[batch, seq, hidden]`.
   * @param start position of the first token of all rows, or `[batch]`, of each.
   * @returns the shape of `hidden`. Caller disposes.
   * @throws when a position is not one that the encoding knows.
   */
  apply(hidden: tf.Tensor3D, start: Start): tf.Tensor3D;
  parameters(): Parameters;
  dispose(): void;
}

/** Fixed waves of every length (`sinusoidalTable`), so that any position has an encoding. */
export class SinusoidalEncoding implements PositionalEncoding {
  /** @param hiddenSize even: every wave has a sine and a cosine. */
  constructor(readonly hiddenSize: number) {
    checkHiddenSize('SinusoidalEncoding', hiddenSize);
  }

  apply(hidden: tf.Tensor3D, start: Start): tf.Tensor3D {
    const seq = checkPass('SinusoidalEncoding', hidden, start, this.hiddenSize);
    return tf.tidy(() =>
      tf.add(
        hidden,
        atStarts(start, (from) => sinusoidalTable(this.hiddenSize, from, seq)),
      ),
    );
  }

  parameters(): Parameters {
    return new Map();
  }

  dispose(): void {}
}

/** One learned vector for each position (GPT-2's `wpe`). */
export class LearnedEncoding implements PositionalEncoding {
  /** `[positions, hidden]`. */
  readonly weight: tf.Variable;

  constructor(
    readonly positions: number,
    readonly hiddenSize: number,
    { deviation, seed }: { deviation: number; seed: number },
  ) {
    this.weight = positionTable('LearnedEncoding', positions, hiddenSize, deviation, seed);
  }

  apply(hidden: tf.Tensor3D, start: Start): tf.Tensor3D {
    const seq = checkPass('LearnedEncoding', hidden, start, this.hiddenSize, this.positions);
    return tf.tidy(() =>
      tf.add(
        hidden,
        atStarts(start, (from) => rowsFrom(this.weight, from, seq)),
      ),
    );
  }

  parameters(): Parameters {
    return new Map([['weight', this.weight]]);
  }

  dispose(): void {
    this.weight.dispose();
  }
}

/**
 * A learned mix of the two: `g * sinusoidal + (1 - g) * learned` with `g = sigmoid(gate)`, a gate for each channel that
 * starts at 0, one half of each. (A softmax over two logits is the sigmoid of their difference.)
 */
export class HybridEncoding implements PositionalEncoding {
  /** `[positions, hidden]`, the learned part. */
  readonly weight: tf.Variable;
  /** `[hidden]`: above 0 the channel leans on the waves, below on the learned part. */
  readonly gate: tf.Variable;

  /** @param hiddenSize even: every wave has a sine and a cosine. */
  constructor(
    readonly positions: number,
    readonly hiddenSize: number,
    { deviation, seed }: { deviation: number; seed: number },
  ) {
    checkHiddenSize('HybridEncoding', hiddenSize);
    this.weight = positionTable('HybridEncoding', positions, hiddenSize, deviation, seed);
    this.gate = filledVariable([hiddenSize], 0);
  }

  apply(hidden: tf.Tensor3D, start: Start): tf.Tensor3D {
    const seq = checkPass('HybridEncoding', hidden, start, this.hiddenSize, this.positions);
    return tf.tidy(() => {
      const learned = atStarts(start, (from) => rowsFrom(this.weight, from, seq));
      const waves = atStarts(start, (from) => sinusoidalTable(this.hiddenSize, from, seq));
      const apart = tf.sub(waves, learned);
      return tf.add(hidden, tf.add(learned, tf.mul(tf.sigmoid(this.gate), apart)));
    });
  }

  parameters(): Parameters {
    return new Map([
      ['weight', this.weight],
      ['gate', this.gate],
    ]);
  }

  dispose(): void {
    tf.dispose([this.weight, this.gate]);
  }
}

/**
 * Waves whose lengths grow from 2 pi to 10000 * 2 pi: channels `2 i` and `2 i + 1` of position p hold sine and cosine of
 * `p / 10000^(2 i / hidden)` (Attention Is All You Need, arXiv:1706.03762, section 3.5). Computed in float64 on the host.
 *
 * @param hiddenSize even. @param start first position. @param count number of positions.
 * @returns `[count, hidden]`. Caller disposes.
 */
export function sinusoidalTable(hiddenSize: number, start: number, count: number): tf.Tensor2D {
  const table = new Float32Array(count * hiddenSize);
  for (let p = 0; p < count; p++) {
    for (let channel = 0; channel < hiddenSize; channel += 2) {
      const angle = (start + p) * 10_000 ** (-channel / hiddenSize);
      table[p * hiddenSize + channel] = Math.sin(angle);
      table[p * hiddenSize + channel + 1] = Math.cos(angle);
    }
  }
  return tf.tensor2d(table, [count, hiddenSize]);
}

function positionTable(who: string, positions: number, hiddenSize: number, deviation: number, seed: number) {
  if (!(Number.isInteger(positions) && positions >= 1))
    throw new Error(`${who}: positions must be a whole number of 1 or more, got ${positions}.`);
  return normalVariable([positions, hiddenSize], deviation, seed);
}

function checkHiddenSize(who: string, hiddenSize: number): void {
  if (Number.isInteger(hiddenSize) && hiddenSize >= 2 && hiddenSize % 2 === 0) return;
  throw new Error(
    `${who}: hiddenSize must be an even whole number, got ${hiddenSize}; every wave has a sine and a cosine.`,
  );
}

/** `[seq, hidden]`, or `[batch, seq, hidden]` where each row starts elsewhere. */
function atStarts(start: Start, encode: (from: number) => tf.Tensor): tf.Tensor {
  return typeof start === 'number' ? encode(start) : tf.stack(start.map(encode));
}

function rowsFrom(table: tf.Tensor, start: number, count: number): tf.Tensor {
  return tf.slice(table, [start, 0], [count, -1]);
}

/** @returns the number of tokens in each row. */
function checkPass(who: string, hidden: tf.Tensor3D, start: Start, hiddenSize: number, positions = Infinity): number {
  const { batch, seq } = dims(`${who}.apply: hidden`, hidden, ['batch', 'seq', 'hidden'], { hidden: hiddenSize });
  const starts = typeof start === 'number' ? [start] : start;
  if (typeof start !== 'number' && start.length !== batch)
    throw new Error(`${who}.apply: start must be one number or ${batch}, one for each row, got ${start.length}.`);
  const bad = starts.find((from) => !(Number.isInteger(from) && from >= 0));
  if (bad !== undefined) throw new Error(`${who}.apply: start must be a whole number of 0 or more, got ${bad}.`);
  const end = Math.max(...starts) + seq;
  if (end > positions) {
    throw new Error(
      `${who}.apply: ${end} positions exceed the ${positions} learned ones; shorten the input or make the table longer.`,
    );
  }
  return seq;
}
