import * as tf from '@tensorflow/tfjs-core';
import { documentRanges } from '@therapeutic-moe/kernels';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { Attention, type AttentionConfig, ConcatKvCache, type RopeConfig, ropeTables } from './index.js';

const SEQ = 7;
const config: AttentionConfig = { hiddenSize: 5, numAttentionHeads: 6, numKeyValueHeads: 2, headDim: 4 };
const rope: RopeConfig = { headDim: 4, theta: 10_000, scaling: { type: 'none' } };
/** float32 sums in another order, through a softmax. */
const CLOSE = 1e-5;

function createAttention(config: AttentionConfig): Attention {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const project = (input: number, output: number, seed: number) =>
    Linear.create(input, output, { deviation: 0.6, seed });
  return new Attention(config, {
    q_proj: project(hiddenSize, numAttentionHeads * headDim, 1),
    k_proj: project(hiddenSize, numKeyValueHeads * headDim, 2),
    v_proj: project(hiddenSize, numKeyValueHeads * headDim, 3),
    o_proj: project(numAttentionHeads * headDim, hiddenSize, 4),
  });
}

const hiddenStates = () => tf.randomNormal<tf.Rank.R3>([2, SEQ, 5], 0, 1, 'float32', 5);

const wholePass = (attention: Attention, x: tf.Tensor3D): tf.Tensor3D =>
  tf.tidy(() => attention.apply(x, { rope: ropeTables(rope, 0, x.shape[1]) }));

/** The same positions in pieces of the given lengths, through a cache. */
function inPieces(attention: Attention, x: tf.Tensor3D, lengths: readonly number[]): tf.Tensor3D {
  const store = new ConcatKvCache(SEQ);
  const y = tf.tidy(() => {
    const outputs = lengths.map((length) => {
      const start = store.length;
      const piece = tf.slice(x, [0, start, 0], [-1, length, -1]);
      return attention.apply(piece, { rope: ropeTables(rope, start, length), cache: { store, layer: 0 } });
    });
    return tf.concat3d(outputs, 1);
  });
  store.dispose();
  return y;
}

describeOnBackends('Attention', () => {
  for (const [name, lengths] of [
    ['token by token', [1, 1, 1, 1, 1, 1, 1]],
    ['in chunks of a prompt', [3, 2, 2]],
    ['a prompt, then tokens', [5, 1, 1]],
  ] as const) {
    it(`decodes ${name} as in one pass`, async () => {
      const [attention, x] = [createAttention(config), hiddenStates()];
      const [whole, pieces] = [wholePass(attention, x), inPieces(attention, x, lengths)];
      await expectClose(pieces, whole, CLOSE);
      tf.dispose([x, whole, pieces]);
      attention.dispose();
    });
  }

  it('never lets a later token change an earlier output', async () => {
    const [attention, x] = [createAttention(config), hiddenStates()];
    const before = await dataOf(wholePass(attention, x));
    for (let position = 0; position < SEQ; position++) {
      const bump = tf.tidy(() => tf.reshape(tf.oneHot(tf.tensor1d([position], 'int32'), SEQ), [1, SEQ, 1]));
      const after = await dataOf(tf.tidy(() => wholePass(attention, tf.add(x, tf.mul(bump, 3)) as tf.Tensor3D)));
      const changed = Array.from({ length: SEQ }, (_, p) => after.subarray(p * 5, p * 5 + 5)).flatMap((row, p) =>
        row.some((value, i) => Math.abs(value - before[p * 5 + i]!) > CLOSE) ? [p] : [],
      );
      expect(changed[0], `first position that changed with token ${position}`).toBe(position);
      bump.dispose();
    }
    x.dispose();
    attention.dispose();
  });

  it('with ALiBi knows the order of tokens without any rotation, and decodes as in one pass', async () => {
    const [attention, x] = [createAttention({ ...config, alibi: true }), hiddenStates()];
    const whole = attention.apply(x, {});
    const store = new ConcatKvCache(SEQ);
    const pieces = tf.tidy(() => {
      const parts = tf.split(x, [4, 1, 2], 1) as tf.Tensor3D[];
      return tf.concat3d(
        parts.map((part) => attention.apply(part, { cache: { store, layer: 0 } })),
        1,
      );
    });
    await expectClose(pieces, whole, CLOSE);
    // Without slopes tokens cannot tell positions apart: the last output does not see the order of the others.
    const order = tf.tensor1d([2, 0, 5, 1, 4, 3, 6], 'int32');
    const lastOf = (layer: Attention, y: tf.Tensor3D) =>
      tf.tidy(() => tf.slice(layer.apply(y, {}), [0, SEQ - 1, 0], [-1, 1, -1]));
    const shuffled = tf.gather(x, order, 1);
    const blind = createAttention(config);
    const [a, b, c, d] = [lastOf(blind, x), lastOf(blind, shuffled), lastOf(attention, x), lastOf(attention, shuffled)];
    await expectClose(a, b, CLOSE);
    const [apart] = await tf.tidy(() => tf.max(tf.abs(tf.sub(c, d)))).data();
    expect(apart).toBeGreaterThan(0.01);
    store.dispose();
    tf.dispose([x, whole, pieces, order, shuffled, a, b, c, d]);
    attention.dispose();
    blind.dispose();
  });

  it('with interleaved pairs equals the half-split layout of reordered projections', async () => {
    const [halves, neighbours, x] = [createAttention(config), createAttention(config), hiddenStates()];
    const order = tf.tensor1d([0, 2, 1, 3], 'int32'); // headDim 4: place 2 i holds value i, place 2 i + 1 value i + 2
    for (const name of ['q_proj', 'k_proj']) {
      tf.tidy(() => {
        const weight = neighbours.parameters().get(`${name}.weight`)!;
        const heads = tf.reshape(weight, [5, -1, 4]);
        weight.assign(tf.reshape(tf.gather(heads, order, 2), weight.shape));
      });
    }
    const [a, b] = [halves, neighbours].map((attention, i) =>
      tf.tidy(() => attention.apply(x, { rope: ropeTables({ ...rope, interleaved: i === 1 }, 3, SEQ) })),
    );
    await expectClose(a!, b!, CLOSE);
    tf.dispose([x, order, a!, b!]);
    halves.dispose();
    neighbours.dispose();
  });

  it('with grouped key-value heads equals full heads that repeat them', async () => {
    const [grouped, x] = [createAttention(config), hiddenStates()];
    const full = createAttention({ ...config, numKeyValueHeads: 6 });
    const weight = (attention: Attention, name: string) => attention.parameters().get(`${name}.weight`)!;
    for (const name of ['q_proj', 'o_proj']) tf.tidy(() => weight(full, name).assign(tf.clone(weight(grouped, name))));
    for (const name of ['k_proj', 'v_proj']) {
      tf.tidy(() => {
        const heads = tf.reshape(weight(grouped, name), [5, 2, 1, 4]);
        weight(full, name).assign(tf.reshape(tf.tile(heads, [1, 1, 3, 1]), [5, 24]));
      });
    }
    const [a, b] = [wholePass(grouped, x), wholePass(full, x)];
    await expectClose(a, b, CLOSE);
    tf.dispose([x, a, b]);
    grouped.dispose();
    full.dispose();
  });

  it('is blind to a shift of all positions', async () => {
    const [attention, x] = [createAttention(config), hiddenStates()];
    const [near, far] = [0, 31].map((start) =>
      tf.tidy(() => attention.apply(x, { rope: ropeTables(rope, start, SEQ) })),
    );
    await expectClose(near!, far!, CLOSE);
    tf.dispose([x, near!, far!]);
    attention.dispose();
  });

  it('keeps Hugging Face names and leaves nothing behind', async () => {
    const [attention, x] = [createAttention(config), hiddenStates()];
    expect([...attention.parameters().keys()]).toEqual(
      ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((n) => `${n}.weight`),
    );
    await expectNoLeak(() => [wholePass(attention, x), inPieces(attention, x, [3, 1])]);
    x.dispose();
    attention.dispose();
  });

  it('refuses heads, projections and inputs that do not fit', () => {
    expect(() => createAttention({ ...config, numKeyValueHeads: 4 })).toThrow(
      'attention: numKeyValueHeads 4 must divide numAttentionHeads 6.',
    );
    const attention = createAttention(config);
    expect(() => new Attention({ ...config, headDim: 8 }, attention.projections)).toThrow(
      'attention: q_proj must map 5 to 48, got 5 to 24.',
    );
    const wide = tf.ones<tf.Rank.R3>([2, 3, 7]);
    expect(() => wholePass(attention, wide)).toThrow('attention.apply: x must be [batch, seq, 5], got [2, 3, 7].');
    const x = hiddenStates();
    expect(() => tf.tidy(() => attention.apply(x, { rope: ropeTables(rope, 0, 3) }))).toThrow('cos must be [7,2]');
    const ranges = documentRanges([0, 14]);
    const cache = { store: new ConcatKvCache(7), layer: 0 };
    expect(() => attention.apply(x, { ranges, cache })).toThrow('pass.ranges is given with a cache');
    expect(() => new Attention({ ...config, slidingWindow: 0 }, attention.projections)).toThrow(
      'attention: slidingWindow must be a whole number of 1 or more, got 0; leave it out for none.',
    );
    tf.dispose([wide, x]);
    attention.dispose();
  });
});

async function dataOf(tensor: tf.Tensor): Promise<Float32Array> {
  const values = await tensor.data<'float32'>();
  tensor.dispose();
  return values;
}
