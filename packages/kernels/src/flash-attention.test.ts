import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { chunkedAttention } from './chunked-attention.js';
import {
  type AttentionOptions,
  documentRanges,
  flashAttention,
  flashAttentionReference,
  paddingRanges,
} from './index.js';
import { visibleKeys } from './key-ranges.js';

/** float32 sums of a few hundred products in another order. */
const SUM = 2e-5;

interface Case {
  readonly name: string;
  readonly batch?: number;
  readonly seq: number;
  readonly keys?: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly options: Omit<AttentionOptions, 'scale'>;
}

const causal = { causal: true } as const;
const padded = paddingRanges([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], 2, 7);
const packed = documentRanges([0, 5, 6, 17]);
/** Each query sees five keys, and later queries see earlier ones; the first and last keys are seen by none. */
const backwards = {
  first: Int32Array.from({ length: 149 }, (_, i) => 151 - i),
  end: Int32Array.from({ length: 149 }, (_, i) => 156 - i),
};

const cases: Case[] = [
  { name: 'grouped heads, causal', batch: 2, seq: 7, heads: 6, kvHeads: 2, headDim: 5, options: causal },
  { name: 'one key-value head for all (MQA)', seq: 11, heads: 5, kvHeads: 1, headDim: 7, options: causal },
  { name: 'more than one tile', seq: 149, heads: 2, kvHeads: 1, headDim: 8, options: causal },
  {
    name: 'queries that continue a cache',
    batch: 2,
    seq: 3,
    keys: 11,
    heads: 2,
    kvHeads: 2,
    headDim: 4,
    options: causal,
  },
  {
    name: 'a piece of a prompt over many tiles',
    seq: 67,
    keys: 211,
    heads: 2,
    kvHeads: 1,
    headDim: 12,
    options: causal,
  },
  { name: 'one query', seq: 1, keys: 13, heads: 4, kvHeads: 2, headDim: 6, options: causal },
  { name: 'one query over many tiles', seq: 1, keys: 307, heads: 4, kvHeads: 2, headDim: 32, options: causal },
  {
    name: 'one query of each of two rows, one of them short',
    batch: 2,
    seq: 1,
    keys: 601,
    heads: 4,
    kvHeads: 2,
    headDim: 32,
    options: { causal: true, ranges: { first: new Int32Array([3, 0]), end: new Int32Array([601, 5]) } },
  },
  { name: 'not causal, fewer keys', seq: 5, keys: 3, heads: 2, kvHeads: 2, headDim: 4, options: { causal: false } },
  { name: 'not causal, more keys', seq: 5, keys: 71, heads: 2, kvHeads: 1, headDim: 4, options: { causal: false } },
  { name: 'a window', batch: 2, seq: 13, heads: 2, kvHeads: 1, headDim: 4, options: { causal: true, window: 3 } },
  {
    name: 'a window over many tiles',
    seq: 263,
    heads: 2,
    kvHeads: 1,
    headDim: 8,
    options: { causal: true, window: 37 },
  },
  { name: 'a window of one', seq: 5, heads: 2, kvHeads: 1, headDim: 4, options: { causal: true, window: 1 } },
  {
    name: 'a window behind a cache',
    seq: 3,
    keys: 17,
    heads: 2,
    kvHeads: 1,
    headDim: 4,
    options: { causal: true, window: 5 },
  },
  {
    name: 'padding before and behind',
    batch: 2,
    seq: 7,
    heads: 4,
    kvHeads: 2,
    headDim: 6,
    options: { causal: true, ranges: padded },
  },
  {
    name: 'padding, not causal',
    batch: 2,
    seq: 7,
    heads: 2,
    kvHeads: 2,
    headDim: 6,
    options: { causal: false, ranges: padded },
  },
  { name: 'packed documents', seq: 17, heads: 4, kvHeads: 2, headDim: 6, options: { causal: true, ranges: packed } },
  {
    name: 'a window back from the end of each document',
    seq: 17,
    heads: 2,
    kvHeads: 1,
    headDim: 6,
    options: { causal: false, ranges: packed, window: 3 },
  },
  {
    name: 'all before a token, itself not',
    seq: 5,
    heads: 2,
    kvHeads: 1,
    headDim: 6,
    options: { causal: false, ranges: { first: new Int32Array(5), end: Int32Array.of(0, 1, 2, 3, 4) } },
  },
  {
    name: 'packed documents, not causal',
    seq: 17,
    heads: 2,
    kvHeads: 1,
    headDim: 6,
    options: { causal: false, ranges: packed },
  },
  {
    name: 'packed documents with a window',
    seq: 17,
    heads: 2,
    kvHeads: 1,
    headDim: 6,
    options: { causal: true, ranges: packed, window: 3 },
  },
  {
    name: 'queries in another order than keys',
    seq: 149,
    keys: 157,
    heads: 2,
    kvHeads: 1,
    headDim: 4,
    options: { causal: false, ranges: backwards },
  },
  {
    name: 'slopes (ALiBi)',
    batch: 2,
    seq: 11,
    heads: 4,
    kvHeads: 2,
    headDim: 6,
    options: { causal: true, slopes: [0.5, 0.25, 0.125, 0.0625] },
  },
  {
    name: 'slopes over many tiles',
    seq: 139,
    heads: 2,
    kvHeads: 1,
    headDim: 8,
    options: { causal: true, slopes: [0.5, 0.01] },
  },
  {
    name: 'slopes with packed documents and a window',
    seq: 17,
    heads: 2,
    kvHeads: 1,
    headDim: 4,
    options: { causal: true, ranges: packed, window: 4, slopes: [0.5, 1] },
  },
  { name: 'a block of queries and one more', seq: 257, heads: 2, kvHeads: 1, headDim: 5, options: causal },
  {
    name: 'packed documents over many tiles, not causal',
    seq: 293,
    heads: 2,
    kvHeads: 2,
    headDim: 3,
    options: { causal: false, ranges: documentRanges([0, 131, 137, 293]) },
  },
  {
    name: 'one query over a long cache, with slopes and a window',
    seq: 1,
    keys: 1031,
    heads: 2,
    kvHeads: 1,
    headDim: 10,
    options: { causal: true, window: 701, slopes: [0.5, 0.001] },
  },
  { name: 'a head of 32', seq: 19, heads: 2, kvHeads: 1, headDim: 32, options: causal },
  { name: 'a head of 64', seq: 19, heads: 2, kvHeads: 1, headDim: 64, options: causal },
  { name: 'a head of 80', seq: 19, heads: 2, kvHeads: 1, headDim: 80, options: causal },
  { name: 'a head of 128', seq: 19, heads: 2, kvHeads: 1, headDim: 128, options: causal },
  { name: 'a head of 160', seq: 19, heads: 2, kvHeads: 1, headDim: 160, options: causal },
  { name: 'a head of 256', seq: 19, heads: 2, kvHeads: 1, headDim: 256, options: causal },
];

let seed = 1;
const random = (...shape: number[]) =>
  tf.randomNormal<tf.Rank.R4>(shape as [number, number, number, number], 0, 1, 'float32', seed++);

function tensorsOf({ batch = 1, seq, keys = seq, heads, kvHeads, headDim }: Case) {
  return [
    random(batch, seq, heads, headDim),
    random(batch, keys, kvHeads, headDim),
    random(batch, keys, kvHeads, headDim),
  ] as const;
}

/** The form of backends without a kernel, on every backend. */
const inChunks: typeof flashAttention = (q, k, v, options) => {
  const [batch, seq] = q.shape;
  const visible = visibleKeys(options, { batch, seq, keys: k.shape[1] });
  return chunkedAttention(q, k, v, { ...options, visible });
};

const forms = [
  ['flashAttention', flashAttention],
  ['its chunked form', inChunks],
] as const;

/** Softmax attention in float64 loops, its visibility asked pair by pair. */
async function byHand([q, k, v]: readonly tf.Tensor4D[], { options }: Case, scale: number): Promise<Float32Array> {
  const [batch, seq, heads, headDim] = q!.shape;
  const [, keys, kvHeads] = k!.shape;
  const [Q, K, V] = await Promise.all([q!.data(), k!.data(), v!.data()]);
  const out = new Float32Array(batch * seq * heads * headDim);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < seq; i++) {
      const { first, end } = options.ranges
        ? { first: options.ranges.first[b * seq + i]!, end: options.ranges.end[b * seq + i]! }
        : { first: 0, end: keys };
      const own = i + keys - seq;
      for (let h = 0; h < heads; h++) {
        const at = (b * keys * kvHeads + Math.floor((h * kvHeads) / heads)) * headDim;
        const seen: { j: number; score: number }[] = [];
        for (let j = first; j < end; j++) {
          const last = options.causal ? Math.min(end - 1, own) : end - 1;
          if (j > last || (options.window && j <= last - options.window)) continue;
          let score = 0;
          for (let d = 0; d < headDim; d++)
            score += Q[((b * seq + i) * heads + h) * headDim + d]! * K[at + j * kvHeads * headDim + d]!;
          seen.push({ j, score: score * scale - (options.slopes?.[h] ?? 0) * (own - j) });
        }
        const top = Math.max(...seen.map(({ score }) => score));
        const total = seen.reduce((sum, { score }) => sum + Math.exp(score - top), 0);
        for (const { j, score } of seen) {
          const share = Math.exp(score - top) / total;
          for (let d = 0; d < headDim; d++)
            out[((b * seq + i) * heads + h) * headDim + d]! += share * V[at + j * kvHeads * headDim + d]!;
        }
      }
    }
  }
  return out;
}

describeOnBackends('flashAttention', () => {
  for (const one of cases) {
    const options = { ...one.options, scale: one.headDim ** -0.5 };

    it(`${one.name}: is what loops over all pairs give`, async () => {
      const inputs = tensorsOf(one);
      const expected = await byHand(inputs, one, options.scale);
      for (const [, attend] of forms) {
        const output = attend(...inputs, options);
        await expectClose(output, expected, SUM);
        output.dispose();
      }
      tf.dispose([...inputs]);
    });

    it(`${one.name}: equals its plain form in value and gradients`, async () => {
      const inputs = tensorsOf(one);
      const dy = random(...inputs[0].shape);
      const run = (attend: typeof flashAttention) =>
        tf.valueAndGrads((q, k, v) =>
          tf.sum(tf.mul(attend(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, options), dy)),
        )([...inputs]);
      const plain = run(flashAttentionReference);
      for (const [, attend] of forms) {
        const fast = run(attend);
        for (const [i, gradient] of fast.grads.entries())
          await expectClose(gradient, await plain.grads[i]!.data(), SUM);
        tf.dispose([fast]);
      }
      tf.dispose([...inputs, dy, plain]);
    });
  }

  it.each(forms)('%s gives 0 and passes no gradient where a query sees nothing', async (_, attend) => {
    const inputs = tensorsOf({ name: '', seq: 3, heads: 2, kvHeads: 1, headDim: 4, options: causal });
    const ranges = { first: new Int32Array([0, 1, 0]), end: new Int32Array([0, 1, 2]) };
    const options = { causal: true, scale: 0.5, ranges };
    const output = attend(...inputs, options);
    expect((await output.data()).slice(0, 16)).toEqual(new Float32Array(16));
    const dq = tf.grad((q) => tf.sum(attend(q as tf.Tensor4D, inputs[1], inputs[2], options)))(inputs[0]);
    await expectClose((await dq.data()).slice(0, 16), new Float32Array(16), 0);
    tf.dispose([...inputs, output, dq]);
  });

  it.each(forms)('%s gives 0 and passes no gradient where no query sees anything', async (_, attend) => {
    const inputs = tensorsOf({ name: '', seq: 3, keys: 5, heads: 2, kvHeads: 1, headDim: 4, options: causal });
    const options = { causal: true, scale: 0.5, ranges: { first: new Int32Array(3), end: new Int32Array(3) } };
    const { value, grads } = tf.valueAndGrads((q, k, v) =>
      tf.sum(attend(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, options)),
    )([...inputs]);
    for (const one of [value, ...grads]) await expectClose(one, new Float32Array(one.size), 0);
    tf.dispose([...inputs, value, grads]);
  });

  it.each([1, 5])('passes on what is not a number, instead of sharing it out: %i queries', async (seq) => {
    const [q, k, v] = tensorsOf({ name: '', seq, keys: 5, heads: 2, kvHeads: 1, headDim: 4, options: causal });
    const broken = tf.tidy(() =>
      tf.where(tf.equal(tf.range(0, 8 * seq), 8 * seq - 1), Number.NaN, tf.reshape(q, [-1])),
    );
    const row = tf.reshape(broken, q.shape) as tf.Tensor4D; // the last head of the last query has a NaN
    const output = flashAttention(row, k, v, { causal: true, scale: 0.5 });
    const values = [...(await output.data())];
    expect(values.map(Number.isNaN)).toEqual(values.map((_, at) => at >= 8 * seq - 4));
    tf.dispose([q, k, v, broken, row, output]);
  });

  it.each([
    [2, 3, 0],
    [2, 0, 3],
    [0, 3, 3],
  ])('has nothing to give to %i rows of %i queries and %i keys', async (batch, seq, keys) => {
    const options = { causal: false, scale: 0.5 };
    const [q, k] = [tf.ones<tf.Rank.R4>([batch, seq, 2, 4]), tf.ones<tf.Rank.R4>([batch, keys, 1, 4])];
    const output = flashAttention(q, k, k, options);
    expect(output.shape).toEqual(q.shape);
    if (output.size > 0) await expectClose(output, new Float32Array(output.size), 0);
    const grads = tf.grads((q, k) => flashAttention(q as tf.Tensor4D, k as tf.Tensor4D, k as tf.Tensor4D, options));
    const gradients = grads([q, k]);
    expect(gradients.map(({ shape }) => shape)).toEqual([q.shape, k.shape]);
    tf.dispose([q, k, output, gradients]);
  });

  it('refuses numbers that are not float32', () => {
    const [q, whole] = [tf.ones<tf.Rank.R4>([1, 2, 3, 4]), tf.ones<tf.Rank.R4>([1, 2, 3, 4], 'int32')];
    expect(() => flashAttention(q, whole, q, { causal: true, scale: 1 })).toThrow('k must be float32, got int32; cast');
    tf.dispose([q, whole]);
  });

  it.each(forms)('%s agrees with central differences', async (_, attend) => {
    const inputs = [random(1, 3, 2, 2), random(1, 3, 1, 2), random(1, 3, 1, 2)];
    const options = { causal: true, scale: 0.7, window: 2, slopes: [0.5, 0.25] };
    await expectGradient((q, k, v) => attend(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, options), inputs);
    tf.dispose(inputs);
  });

  it.each(forms)('%s leaves nothing behind, outside of a tidy too', async (_, attend) => {
    const inputs = tensorsOf({ name: '', seq: 139, heads: 2, kvHeads: 1, headDim: 4, options: causal });
    await expectNoLeak(() => {
      attend(...inputs, { causal: true, scale: 0.5, window: 2 }).dispose();
      tf.dispose(
        tf.grads((q, k, v) =>
          attend(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { causal: true, scale: 0.5, window: 2 }),
        )([...inputs]),
      );
    });
    tf.dispose([...inputs]);
  });

  it.each<[string, Partial<AttentionOptions>, string]>([
    ['a window of none', { window: 0 }, 'window must be a whole number of 1 or more, got 0'],
    ['a window without a direction', { causal: false, window: 2 }, 'window counts back from the last key'],
    ['slopes of another number', { slopes: [1] }, 'slopes must be 3 finite numbers, one per head, got [1].'],
    ['slopes without a direction', { causal: false, slopes: [1, 2, 3] }, 'slopes count back from each query'],
    [
      'ranges of another size',
      { ranges: documentRanges([0, 4]) },
      'ranges must have batch * seq = 1 * 5 entries, got first 4',
    ],
    [
      'ranges past the keys',
      { ranges: { first: new Int32Array(5), end: new Int32Array(5).fill(6) } },
      'ranges at 0 are 0 to 6, expected 0 <= first <= end <= 5 keys.',
    ],
  ])('refuses %s', (_, options, message) => {
    const [q, k] = [tf.ones<tf.Rank.R4>([1, 5, 3, 4]), tf.ones<tf.Rank.R4>([1, 5, 1, 4])];
    expect(() => flashAttention(q, k, k, { causal: true, scale: 1, ...options })).toThrow(message);
    tf.dispose([q, k]);
  });

  it('refuses heads that do not divide and causal queries without keys', () => {
    const q = tf.ones<tf.Rank.R4>([1, 5, 3, 4]);
    const options = { causal: true, scale: 1 };
    expect(() => flashAttention(q, tf.ones([1, 5, 2, 4]), tf.ones([1, 5, 2, 4]), options)).toThrow('cannot share 2');
    expect(() => flashAttention(q, tf.ones([1, 3, 3, 4]), tf.ones([1, 3, 3, 4]), options)).toThrow(
      'at least as many keys',
    );
  });
});
