import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  type DecodeLayerWeights,
  decodeLayer,
  decodeLayerReference,
  hasDecodeLayer,
  type RopeTables,
  type RotaryLayout,
} from './index.js';

/** float32 sums of a few dozen products in another order. */
const SUM = 1e-5;

interface Sizes {
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediate: number;
  /** 0: dense. */
  readonly experts: number;
  readonly k: number;
  readonly normalise: boolean;
  readonly rows: number;
  readonly position: number;
  readonly layout?: RotaryLayout;
}

const grouped: Sizes = {
  ...{ hidden: 19, heads: 6, kvHeads: 3, headDim: 10, intermediate: 13, experts: 5, k: 2, normalise: true },
  ...{ rows: 11, position: 7 },
};

const cases: readonly [name: string, sizes: Sizes][] = [
  ['grouped-query heads, an odd hidden size, top 2', grouped],
  ['three experts, not normalised', { ...grouped, k: 3, normalise: false }],
  ["one expert of two, in the cache's last row", { ...grouped, experts: 2, k: 1, normalise: false, position: 10 }],
  ['one key-value head, the first token', { ...grouped, kvHeads: 1, position: 0 }],
  ['neighbouring pairs', { ...grouped, layout: 'interleaved' }],
  ['no experts', { ...grouped, experts: 0 }],
  ['sizes that fill whole vectors', { ...grouped, hidden: 32, headDim: 16, intermediate: 24, rows: 40, position: 37 }],
];

let seed = 1;
const random = <R extends tf.Rank>(...shape: number[]) =>
  tf.randomNormal(shape as [number], 0, (shape.at(-2) ?? 1) ** -0.5, 'float32', seed++) as tf.Tensor as tf.Tensor<R>;

function inputsOf({
  hidden,
  heads,
  kvHeads,
  headDim,
  intermediate,
  experts,
  k,
  normalise,
  rows,
  position,
  layout,
}: Sizes) {
  const stack = experts ? [experts] : [];
  const weights: DecodeLayerWeights = {
    inputNorm: random(hidden),
    q: random(hidden, heads * headDim),
    k: random(hidden, kvHeads * headDim),
    v: random(hidden, kvHeads * headDim),
    o: random(heads * headDim, hidden),
    postAttentionNorm: random(hidden),
    ...(experts && { gate: random(hidden, experts) }),
    gateUp: random(...stack, hidden, 2 * intermediate),
    down: random(...stack, intermediate, hidden),
  };
  const cacheShape = [1, rows, kvHeads, headDim] as const;
  const cache = { k: random<tf.Rank.R4>(...cacheShape), v: random<tf.Rank.R4>(...cacheShape), position };
  const angles = Float32Array.from({ length: headDim / 2 }, (_, i) => position * 0.3 ** i);
  const [cos, sin] = [tf.tensor2d([[...angles.map(Math.cos)]]), tf.tensor2d([[...angles.map(Math.sin)]])];
  const rotation: RopeTables = { cos, sin, layout };
  const options = { epsilon: 1e-5, numExpertsPerTok: k, normTopkProb: normalise };
  return [random<tf.Rank.R2>(1, hidden), weights, cache, rotation, options] as const;
}

const disposeAll = (inputs: ReturnType<typeof inputsOf>) => tf.dispose([...inputs] as unknown as tf.TensorContainer);

describeOnBackends('decodeLayer', (backend) => {
  if (backend !== 'wasm') {
    it('is for wasm: elsewhere one asks first, and it says so', () => {
      expect(hasDecodeLayer()).toBe(false);
      const inputs = inputsOf(grouped);
      expect(() => decodeLayer(...inputs)).toThrow(`the backend '${backend}' has no such kernel; ask hasDecodeLayer`);
      disposeAll(inputs);
    });
    return;
  }

  it.each(cases)('equals the plain form: %s', async (_, sizes) => {
    const inputs = inputsOf(sizes);
    const [, , cache] = inputs;
    const before = [await cache.k.data(), await cache.v.data()].map((values) => values.slice());
    const plain = decodeLayerReference(...inputs);
    const fast = decodeLayer(...inputs);
    await expectClose(fast.hidden, plain.hidden, SUM);
    expect(Object.keys(fast.routing ?? {})).toEqual(
      sizes.experts ? ['logits', 'probabilities', 'indices', 'weights'] : [],
    );
    for (const name of ['logits', 'probabilities', 'indices', 'weights'] as const) {
      if (fast.routing) await expectClose(fast.routing[name], plain.routing![name], SUM);
    }
    expect(fast.routing?.indices.dtype).toBe(sizes.experts ? 'int32' : undefined);
    const width = sizes.kvHeads * sizes.headDim;
    for (const [i, [held, row]] of [[cache.k, plain.k] as const, [cache.v, plain.v] as const].entries()) {
      const wanted = before[i]!;
      wanted.set(await row.data(), sizes.position * width); // this row, and no other
      await expectClose(held, wanted, SUM);
    }
    tf.dispose([{ ...plain }, { ...fast }] as tf.TensorContainer);
    disposeAll(inputs);
  });

  it('leaves nothing behind, not even when it refuses', async () => {
    const inputs = inputsOf(grouped);
    await expectNoLeak(() => ({ ...decodeLayer(...inputs) }));
    const [hidden, ...rest] = inputs;
    const broken = tf.fill<tf.Rank.R2>(hidden.shape, Number.NaN);
    await expectNoLeak(() => {
      expect(() => decodeLayer(broken, ...rest)).toThrow(
        'decodeLayer: the gate logit of expert 0 is NaN; the hidden state or the gate is not finite.',
      );
    });
    broken.dispose();
    disposeAll(inputs);
  });

  it('refuses what does not fit, before it reads or writes anything', () => {
    const inputs = inputsOf(grouped);
    const [hidden, weights, cache, rotation, options] = inputs;
    const wrong = random(19, 31);
    expect(() => decodeLayer(hidden, { ...weights, k: wrong }, cache, rotation, options)).toThrow(
      'decodeLayer: k must be float32 [19,30], got float32 [19,31].',
    );
    expect(() => decodeLayer(hidden, { ...weights, q: wrong, o: random(31, 19) }, cache, rotation, options)).toThrow(
      "q has 31 columns, not a multiple of the cache's [3, 10]",
    );
    expect(() => decodeLayer(hidden, { ...weights, gate: undefined }, cache, rotation, options)).toThrow(
      'decodeLayer: gateUp must be float32 [19,26], got float32 [5,19,26].',
    );
    for (const position of [11, -1, Number.NaN]) {
      expect(() => decodeLayer(hidden, weights, { ...cache, position }, rotation, options)).toThrow(
        `decodeLayer: position ${position} is outside the cache's 11 rows; give it room first.`,
      );
    }
    for (const numExpertsPerTok of [0, 6, 1.5]) {
      expect(() => decodeLayer(hidden, weights, cache, rotation, { ...options, numExpertsPerTok })).toThrow(
        `decodeLayer: numExpertsPerTok must be a whole number from 1 to 5, got ${numExpertsPerTok}.`,
      );
    }
    wrong.dispose();
    disposeAll(inputs);
  });
});
