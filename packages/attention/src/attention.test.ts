import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { Attention, type AttentionConfig, ConcatKvCache, type RopeConfig, ropeTables } from './index.js';

const SEQ = 7;
const config: AttentionConfig = { hiddenSize: 5, numAttentionHeads: 6, numKeyValueHeads: 2, headDim: 4 };
const rope: RopeConfig = { headDim: 4, theta: 10_000, scaling: { type: 'none' } };
/** float32 sums in another order, through a softmax. */
const CLOSE = 1e-5;

function createAttention({ hiddenSize, numAttentionHeads, numKeyValueHeads, headDim }: AttentionConfig): Attention {
  const project = (input: number, output: number, seed: number) =>
    Linear.create(input, output, { deviation: 0.6, seed });
  return new Attention(
    { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim },
    {
      q_proj: project(hiddenSize, numAttentionHeads * headDim, 1),
      k_proj: project(hiddenSize, numKeyValueHeads * headDim, 2),
      v_proj: project(hiddenSize, numKeyValueHeads * headDim, 3),
      o_proj: project(numAttentionHeads * headDim, hiddenSize, 4),
    },
  );
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
    tf.dispose([wide, x]);
    attention.dispose();
  });
});

async function dataOf(tensor: tf.Tensor): Promise<Float32Array> {
  const values = await tensor.data<'float32'>();
  tensor.dispose();
  return values;
}
