import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak, valueAndGradients } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { multiLevelReference } from '../test/multi-level-reference.js';
import {
  Attention,
  type AttentionConfig,
  type AttentionPass,
  ConcatKvCache,
  type KvCache,
  type LevelCache,
  MultiLevelAttention,
  type MultiLevelConfig,
  PreallocatedKvCache,
  type RopeConfig,
  ropeTables,
} from './index.js';

const SEQ = 19;
const HIDDEN = 5;
const config: AttentionConfig = { hiddenSize: HIDDEN, numAttentionHeads: 6, numKeyValueHeads: 2, headDim: 4 };
const rope: RopeConfig = { headDim: 4, theta: 10_000, scaling: { type: 'none' } };
/** float32 sums in another order, through a softmax. */
const CLOSE = 1e-5;
/** The same, summed over a batch and all positions. */
const GRADIENT = 1e-4;

const linear = (input: number, output: number, seed: number, bias = false) =>
  Linear.create(input, output, { deviation: 0.6, bias, seed });

function createAttention(levels: MultiLevelConfig = { window: 3, strides: [2, 4] }): MultiLevelAttention {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const projections = {
    q_proj: linear(hiddenSize, numAttentionHeads * headDim, 1),
    k_proj: linear(hiddenSize, numKeyValueHeads * headDim, 2),
    v_proj: linear(hiddenSize, numKeyValueHeads * headDim, 3),
    o_proj: linear(numAttentionHeads * headDim, hiddenSize, 4),
  };
  const gate = linear(hiddenSize, numAttentionHeads * (1 + levels.strides.length), 5, true);
  return new MultiLevelAttention(config, levels, projections, gate);
}

const hiddenStates = (batch = 2, seq = SEQ) => tf.randomNormal<tf.Rank.R3>([batch, seq, HIDDEN], 0, 1, 'float32', 7);

const wholePass = (attention: MultiLevelAttention | Attention, x: tf.Tensor3D): tf.Tensor3D =>
  tf.tidy(() => attention.apply(x, { rope: ropeTables(rope, 0, x.shape[1]) }));

/** What a model keeps for the coarse levels of one layer. */
function levelStore() {
  const held = new Map<string, { k: tf.Tensor4D; v: tf.Tensor4D }>();
  const append: LevelCache['append'] = (key, k, v) => {
    const old = held.get(key);
    const join = (a: tf.Tensor4D | undefined, b: tf.Tensor4D) => tf.keep(a ? tf.concat4d([a, b], 1) : tf.clone(b));
    held.set(key, { k: join(old?.k, k), v: join(old?.v, v) });
    if (old) tf.dispose([old.k, old.v]);
    return held.get(key)!;
  };
  return { append, dispose: () => tf.dispose([...held.values()].flatMap(({ k, v }) => [k, v])) };
}

/** The same tokens in pieces of the given lengths, through a cache. */
function inPieces(
  attention: MultiLevelAttention,
  x: tf.Tensor3D,
  lengths: readonly number[],
  store: KvCache = new ConcatKvCache(SEQ),
): tf.Tensor3D {
  const kept = levelStore();
  const y = tf.tidy(() => {
    let start = 0;
    const outputs = lengths.map((length) => {
      const piece = tf.slice(x, [0, start, 0], [-1, length, -1]);
      const levels = { start, append: kept.append };
      const pass = { rope: ropeTables(rope, start, length), cache: { store, layer: 0, levels } };
      start += length;
      return attention.apply(piece, pass);
    });
    return tf.concat3d(outputs, 1);
  });
  store.dispose();
  kept.dispose();
  return y;
}

/** A cache with rows of others before its own and room behind, as a sliding or preallocated one may have. */
function roomyCache(): KvCache {
  const inner = new ConcatKvCache(SEQ);
  const widened: tf.Tensor[] = [];
  return {
    append(layer, k, v) {
      const held = inner.append(layer, k, v);
      const [batch, seq] = k.shape;
      const wide = (rows: tf.Tensor4D) =>
        tf.keep(tf.pad4d(rows, [[0, 0], [3, 5], [0, 0], [0, 0]], 9)); // biome-ignore format: one row per axis
      const rows = { k: wide(held.k), v: wide(held.v) };
      widened.push(rows.k, rows.v);
      const end = Int32Array.from({ length: batch * seq }, (_, at) => 3 + held.k.shape[1] - seq + (at % seq) + 1);
      return { ...rows, ranges: { first: new Int32Array(batch * seq).fill(3), end } };
    },
    get length() {
      return inner.length;
    },
    dispose: () => {
      inner.dispose();
      tf.dispose(widened);
    },
  };
}

/** Two with whole and unfinished blocks at the end, and one without a whole block. */
const cases: readonly MultiLevelConfig[] = [
  { window: 3, strides: [2, 4] },
  { window: 7, strides: [3, 5, 7] },
  { window: 22, strides: [23] },
];

describeOnBackends('MultiLevelAttention', (backend) => {
  const slow = backend === 'webgpu'; // SwiftShader compiles a shader for each op and shape
  const patience = slow ? 240_000 : undefined;
  const positions = slow ? [2, 3, 10] : Array.from({ length: SEQ }, (_, position) => position);

  for (const levels of slow ? cases.slice(0, 1) : cases) {
    const name = `window ${levels.window}, strides ${levels.strides}`;

    it(`equals the whole score matrices of each level, with gradients: ${name}`, { timeout: patience }, async () => {
      const [attention, x] = [createAttention(levels), hiddenStates()];
      const fixed = tf.randomNormal([2, SEQ, HIDDEN], 0, 1, 'float32', 11);
      const of = (pass: (x: tf.Tensor3D) => tf.Tensor) =>
        valueAndGradients((x) => tf.mul(fixed, pass(x as tf.Tensor3D)), [x], attention.parameters().values());
      const got = of((x) => wholePass(attention, x));
      const expected = of((x) => multiLevelReference(attention, x, ropeTables(rope, 0, SEQ)));
      for (const [i, tensor] of got.entries()) await expectClose(tensor, expected[i]!, GRADIENT);
      tf.dispose([x, fixed, ...got, ...expected]);
      attention.dispose();
    });

    it(`decodes in pieces as in one pass: ${name}`, async () => {
      const [attention, x] = [createAttention(levels), hiddenStates()];
      const whole = wholePass(attention, x);
      const cuts = [Array.from({ length: SEQ }, () => 1), [1, 3, 2, 5, 8], [11, 1, 1, 1, 5], [SEQ]];
      for (const lengths of slow ? cuts.slice(1, 2) : cuts) {
        for (const store of [new ConcatKvCache(SEQ), roomyCache(), new PreallocatedKvCache({ capacity: 23 })]) {
          const pieces = inPieces(attention, x, lengths, store);
          await expectClose(pieces, whole, CLOSE);
          pieces.dispose();
        }
      }
      tf.dispose([x, whole]);
      attention.dispose();
    });
  }

  it('never lets a later token change an earlier output', async () => {
    const [attention, x] = [createAttention(), hiddenStates(1)];
    const before = await dataOf(wholePass(attention, x));
    for (const position of positions) {
      const bump = tf.tidy(() => tf.reshape(tf.oneHot(tf.tensor1d([position], 'int32'), SEQ), [1, SEQ, 1]));
      const after = await dataOf(tf.tidy(() => wholePass(attention, tf.add(x, tf.mul(bump, 3)) as tf.Tensor3D)));
      expect(after.slice(0, position * HIDDEN), `token ${position}`).toEqual(before.slice(0, position * HIDDEN));
      expect(after.slice(position * HIDDEN, (position + 1) * HIDDEN)).not.toEqual(
        before.slice(position * HIDDEN, (position + 1) * HIDDEN),
      );
      bump.dispose();
    }
    x.dispose();
    attention.dispose();
  });

  it('passes no gradient from an output to a later token, and some to every earlier one', async () => {
    const [attention, x] = [createAttention(), hiddenStates(1)];
    for (const position of positions) {
      const slopes = tf.tidy(() => {
        const slope = tf.grad((x: tf.Tensor) =>
          tf.sum(tf.slice(wholePass(attention, x as tf.Tensor3D), [0, position, 0], [1, 1, 2])),
        )(x);
        return tf.reshape(tf.max(tf.abs(slope), 2), [SEQ]);
      });
      const reached = Array.from(await dataOf(slopes), (slope) => slope > 0);
      expect(reached, `output ${position}`).toEqual(Array.from({ length: SEQ }, (_, at) => at <= position));
    }
    x.dispose();
    attention.dispose();
  });

  it('is plain attention where the window holds the text and no block is whole', async () => {
    const [attention, x] = [createAttention({ window: 23, strides: [23] }), hiddenStates()];
    const plain = new Attention(config, attention.projections);
    const [levels, expected] = [wholePass(attention, x), wholePass(plain, x)];
    await expectClose(levels, expected, CLOSE);
    tf.dispose([x, levels, expected]);
    attention.dispose();
  });

  it('names its parameters and leaves nothing behind', async () => {
    const [attention, x] = [createAttention(), hiddenStates()];
    const names = ['q_proj.weight', 'k_proj.weight', 'v_proj.weight', 'o_proj.weight'];
    expect([...attention.parameters().keys()]).toEqual([...names, 'level_gate.weight', 'level_gate.bias']);
    await expectNoLeak(() => [wholePass(attention, x), inPieces(attention, x, [3, 1, 1])]);
    x.dispose();
    attention.dispose();
  });

  it('refuses sizes, windows and passes that do not fit', () => {
    const [attention, x] = [createAttention(), hiddenStates()];
    const { levels, projections, gate } = attention;
    expect(() => new MultiLevelAttention(config, { ...levels, strides: [2] }, projections, gate)).toThrow(
      'gate must map 5 to 12 (heads times levels), got 5 to 18',
    );
    expect(() => new MultiLevelAttention({ ...config, slidingWindow: 5 }, levels, projections, gate)).toThrow(
      'slidingWindow is 5, but the fine level has the window 3; leave slidingWindow out',
    );
    expect(() => new MultiLevelAttention({ ...config, alibi: true }, levels, projections, gate)).toThrow(
      'alibi is set, but blocks have no distance of their own',
    );
    expect(() => new MultiLevelAttention(config, { ...levels, window: 0 }, projections, gate)).toThrow(
      'window must be a whole number of 1 or more, got 0',
    );
    const refuse = (pass: AttentionPass, words: string) => expect(() => attention.apply(x, pass)).toThrow(words);
    const ranges = { first: new Int32Array(2 * SEQ), end: new Int32Array(2 * SEQ).fill(1) };
    refuse({ ranges }, 'multi-level attention: pass.ranges is given');
    const store = new ConcatKvCache(SEQ);
    refuse({ cache: { store, layer: 0, newTokens: [3, 5] } }, 'pass.cache.newTokens is [3,5], but blocks are cut');
    refuse({ cache: { store, layer: 0 } }, 'multi-level attention: pass.cache needs levels');
    const uneven: KvCache = { ...store, length: 0, append: (_, k, v) => ({ k, v, ranges }), dispose: () => undefined };
    const through = (start: number): AttentionPass => ({
      cache: { store: uneven, layer: 0, levels: { start, append: (_, k, v) => ({ k, v }) } },
    });
    refuse(through(0), 'puts token 1 of batch row 0 at 0, expected 1; rows of different lengths');
    for (let at = 0; at < 2 * SEQ; at++) ranges.end[at] = 1 + (at % SEQ);
    refuse(through(1), 'the 1 tokens of an unfinished block begin at row -1, but the cache shows rows from 0 on');
    refuse(through(8), 'cache.levels holds 0 blocks of 2 tokens, expected 4 after 8 tokens; give every pass the same');
    x.dispose();
    store.dispose();
    attention.dispose();
  });
});

async function dataOf(tensor: tf.Tensor): Promise<Float32Array> {
  const values = await tensor.data<'float32'>();
  tensor.dispose();
  return values;
}
