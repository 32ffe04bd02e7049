import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { HybridEncoding, LearnedEncoding, type PositionalEncoding, SinusoidalEncoding } from './index.js';

const HIDDEN = 6;
const POSITIONS = 11;
const start = { deviation: 1, seed: 3 };
/** float32 sums of tables computed in float64. */
const CLOSE = 1e-6;

const kinds: Record<string, () => PositionalEncoding> = {
  SinusoidalEncoding: () => new SinusoidalEncoding(HIDDEN),
  LearnedEncoding: () => new LearnedEncoding(POSITIONS, HIDDEN, start),
  HybridEncoding: () => new HybridEncoding(POSITIONS, HIDDEN, start),
};

const hiddenStates = (seq: number) => tf.randomNormal<tf.Rank.R3>([2, seq, HIDDEN], 0, 1, 'float32', 5);

for (const [name, create] of Object.entries(kinds)) {
  describeOnBackends(`PositionalEncoding: ${name}`, () => {
    it('gives a token the same encoding in a piece as in the whole', async () => {
      const [encoding, x] = [create(), hiddenStates(7)];
      const whole = encoding.apply(x, 2);
      const pieces = tf.tidy(() => {
        const [head, tail] = tf.split<tf.Tensor3D>(x, [4, 3], 1);
        return tf.concat([encoding.apply(head!, 2), encoding.apply(tail!, 6)], 1);
      });
      await expectClose(pieces, whole, CLOSE);
      tf.dispose([x, whole, pieces]);
      encoding.dispose();
    });

    it('lets each row of a batch start where it stands', async () => {
      const [encoding, x] = [create(), hiddenStates(3)];
      const apart = encoding.apply(x, [5, 1]);
      const single = tf.tidy(() => {
        const [first, second] = tf.split<tf.Tensor3D>(x, 2);
        return tf.concat([encoding.apply(first!, 5), encoding.apply(second!, 1)]);
      });
      await expectClose(apart, single, 0);
      tf.dispose([x, apart, single]);
      encoding.dispose();
    });

    it('passes gradients to the hidden states and to what it learns', async () => {
      const [encoding, x] = [create(), hiddenStates(3)];
      await expectGradient((hidden) => encoding.apply(hidden as tf.Tensor3D, 5), [x]);
      const variables = [...encoding.parameters().values()];
      const before = variables.map((variable) => tf.tidy(() => tf.clone(variable)));
      const score = () => tf.tidy(() => tf.sum(tf.square(encoding.apply(x, 5))) as tf.Scalar);
      for (const [i, variable] of variables.entries()) {
        const { value, grads } = tf.tidy(() => tf.variableGrads(score, [variable]));
        const step = tf.tidy(() => tf.mul(grads[variable.name]!, 1e-3));
        const [drop] = await tf.tidy(() => tf.sum(tf.mul(step, grads[variable.name]!))).data();
        variable.assign(tf.tidy(() => tf.sub(before[i]!, step)));
        const moved = await score().data();
        variable.assign(before[i]!);
        expect(((await value.data())[0]! - moved[0]!) / drop!).toBeCloseTo(1, 1);
        tf.dispose([value, grads, step]);
      }
      tf.dispose([x, before]);
      encoding.dispose();
    });

    it('leaves nothing behind', async () => {
      const x = hiddenStates(3);
      await expectNoLeak(() => {
        const encoding = create();
        encoding.apply(x, 1).dispose();
        encoding.dispose();
      });
      x.dispose();
    });
  });
}

describeOnBackends('PositionalEncoding', () => {
  it('sinusoidal: even channels are sines, odd ones cosines, of waves that grow longer', async () => {
    const encoded = new SinusoidalEncoding(4).apply(tf.zeros([1, 2, 4]), 3);
    const expected = [3, 4].flatMap((p) => [Math.sin(p), Math.cos(p), Math.sin(p / 100), Math.cos(p / 100)]);
    await expectClose(encoded, expected, CLOSE);
    encoded.dispose();
  });

  it('hybrid: a gate far above 0 leaves the waves, one far below the learned table', async () => {
    const hybrid = new HybridEncoding(POSITIONS, HIDDEN, start);
    const learned = new LearnedEncoding(POSITIONS, HIDDEN, start);
    const x = hiddenStates(5);
    for (const [gate, other] of [
      [40, new SinusoidalEncoding(HIDDEN)],
      [-40, learned],
    ] as const) {
      tf.tidy(() => hybrid.gate.assign(tf.fill([HIDDEN], gate)));
      const [mixed, pure] = [hybrid.apply(x, 6), other.apply(x, 6)];
      await expectClose(mixed, pure, CLOSE);
      tf.dispose([mixed, pure]);
    }
    x.dispose();
    hybrid.dispose();
    learned.dispose();
  });
});

describe('PositionalEncoding', () => {
  it('refuses sizes and positions that do not exist', () => {
    expect(() => new SinusoidalEncoding(7)).toThrow(
      'SinusoidalEncoding: hiddenSize must be an even whole number, got 7; every wave has a sine and a cosine.',
    );
    expect(() => new HybridEncoding(3, 5, start)).toThrow('HybridEncoding: hiddenSize must be an even whole number');
    expect(() => new LearnedEncoding(0, 6, start)).toThrow(
      'LearnedEncoding: positions must be a whole number of 1 or more, got 0.',
    );
    const [learned, x] = [new LearnedEncoding(POSITIONS, HIDDEN, start), hiddenStates(5)];
    expect(() => learned.apply(x, 7)).toThrow(
      'LearnedEncoding.apply: 12 positions exceed the 11 learned ones; shorten the input or make the table longer.',
    );
    expect(() => learned.apply(x, -1)).toThrow(
      'LearnedEncoding.apply: start must be a whole number of 0 or more, got -1.',
    );
    expect(() => learned.apply(x, [1, 8])).toThrow('13 positions exceed the 11 learned ones');
    expect(() => learned.apply(x, [1])).toThrow('start must be one number or 2, one for each row, got 1.');
    const wide = tf.ones<tf.Rank.R3>([2, 3, 7]);
    expect(() => learned.apply(wide, 0)).toThrow(
      'LearnedEncoding.apply: hidden must be [batch, seq, 6], got [2, 3, 7].',
    );
    tf.dispose([x, wide]);
    learned.dispose();
  });
});
