// One suite for every cache: attention over the pieces of a text equals one pass over all of it.

import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { Attention, ConcatKvCache, type KvCacheOptions, PreallocatedKvCache } from './index.js';

const SEQ = 17;
const WINDOW = 5;
const hiddenSize = 7;
const heads = { hiddenSize, numAttentionHeads: 6, numKeyValueHeads: 2, headDim: 4 };
/** float32 sums in another order, through a softmax. */
const EXACT = 1e-5;
/** Keys and values of some 3 in size, each off by up to half of 3 / 127, through scores, softmax and one projection. */
const INT8 = 0.1;

interface Kind {
  readonly name: string;
  readonly create: (capacity: number) => PreallocatedKvCache | ConcatKvCache;
  readonly window?: number;
  readonly tolerance: number;
}

const preallocated = (name: string, options: Omit<KvCacheOptions, 'capacity'> = {}): Kind => ({
  name,
  create: (capacity) => new PreallocatedKvCache({ capacity, ...options }),
  ...(options.window && { window: options.window }),
  tolerance: options.dtype === 'int8' ? INT8 : EXACT,
});

const kinds: readonly Kind[] = [
  { name: 'grown by concatenation', create: (capacity) => new ConcatKvCache(capacity), tolerance: EXACT },
  preallocated('all room at once'),
  preallocated('room that doubles', { initialRoom: 2 }),
  preallocated('a sliding window', { window: WINDOW }),
  preallocated('a sliding window, its room doubling', { window: WINDOW, initialRoom: 1 }),
  preallocated('a window of one', { window: 1 }),
  preallocated('int8', { dtype: 'int8' }),
  preallocated('int8 in a sliding window, its room doubling', { dtype: 'int8', window: WINDOW, initialRoom: 3 }),
];

const forWebGpu = ['room that doubles', 'int8 in a sliding window, its room doubling'];

function createAttention(window?: number): Attention {
  const { numAttentionHeads, numKeyValueHeads, headDim } = heads;
  const project = (input: number, output: number, seed: number) =>
    Linear.create(input, output, { deviation: 0.6, seed });
  return new Attention(
    { ...heads, ...(window && { slidingWindow: window }) },
    {
      q_proj: project(hiddenSize, numAttentionHeads * headDim, 1),
      k_proj: project(hiddenSize, numKeyValueHeads * headDim, 2),
      v_proj: project(hiddenSize, numKeyValueHeads * headDim, 3),
      o_proj: project(numAttentionHeads * headDim, hiddenSize, 4),
    },
  );
}

const text = (batch: number, seed = 5) => tf.randomNormal<tf.Rank.R3>([batch, SEQ, hiddenSize], 0, 1, 'float32', seed);
const ones = (seq: number, value: number, batch = 1) => tf.fill<tf.Rank.R4>([batch, seq, 2, 4], value);
const part = (x: tf.Tensor3D, from: number, count: number, item = 0, items = -1) =>
  tf.slice(x, [item, from, 0], [items, count, -1]) as tf.Tensor3D;

for (const { name, create, window, tolerance } of kinds) {
  describeOnBackends(`KvCache: ${name}`, (backend) => {
    // SwiftShader compiles for most of a minute where every step has other sizes: there only caches and pieces that differ most.
    const slow = backend === 'webgpu';
    const maybe = it.skipIf(slow && !forWebGpu.includes(name));
    const attention = () => createAttention(window);
    const append = (
      layer: Attention,
      store: ReturnType<typeof create>,
      x: tf.Tensor3D,
      newTokens?: readonly number[],
    ) => layer.apply(x, { cache: { store, layer: 0, ...(newTokens && { newTokens }) } });
    /** Outputs of consecutive pieces, `[batch, sum of lengths, hidden]`. */
    const inPieces = (layer: Attention, store: ReturnType<typeof create>, x: tf.Tensor3D, lengths: readonly number[]) =>
      tf.concat(
        lengths.map((length) => append(layer, store, part(x, store.length, length))),
        1,
      ) as tf.Tensor3D;

    const pieces: [name: string, lengths: number[]][] = [
      ['tokens, then a long piece, then tokens', [1, 1, 13, 1, 1]],
      ['token by token', new Array(SEQ).fill(1)],
      ['in chunks', [3, 2, 5, 7]],
      ['at once', [SEQ]],
      ['a prompt, then tokens', [11, 1, 1, 1, 1, 1, 1]],
    ];
    (slow ? maybe.each(pieces.slice(0, 1)) : it.each(pieces))(
      'taking the text %s equals one pass',
      async (_, lengths) => {
        const [layer, x, store] = [attention(), text(2), create(SEQ)];
        const [whole, pieces] = tf.tidy(() => [layer.apply(x, {}), inPieces(layer, store, x, lengths)]);
        expect(store.length).toBe(SEQ);
        await expectClose(pieces!, whole!, tolerance);
        tf.dispose([x, whole!, pieces!]);
        store.dispose();
        layer.dispose();
      },
    );

    maybe('goes on after truncate as if it had never seen more', async () => {
      const [layer, x, other, store] = [attention(), text(2), text(2, 6), create(SEQ)];
      const gap = tf.tidy(() => {
        inPieces(layer, store, x, [9]);
        append(layer, store, part(other, 9, 3)); // taken back
        store.truncate(9);
        expect(store.length).toBe(9);
        const pieces = inPieces(layer, store, x, [1, 4, 1, 1, 1]);
        return tf.sub(pieces, part(layer.apply(x, {}), 9, 8));
      });
      await expectClose(gap, new Array(gap.size).fill(0), tolerance);
      tf.dispose([x, other, gap]);
      store.dispose();
      layer.dispose();
    });

    it('takes back what some layers appended', () => {
      const store = create(7);
      tf.tidy(() => {
        for (const layer of [0, 1]) store.append(layer, ones(2, 1), ones(2, 1));
        store.append(0, ones(3, 5), ones(3, 5)); // layer 1 fails before its turn
        store.truncate(2);
        for (const layer of [0, 1]) store.append(layer, ones(2, 1), ones(2, 1));
      });
      expect(store.length).toBe(4);
      store.truncate(0);
      expect(store.length).toBe(0);
      store.dispose();
    });

    it('refuses more tokens than its capacity and keeps what it has', () => {
      const store = create(5);
      tf.tidy(() => {
        store.append(0, ones(3, 1), ones(3, 1));
        expect(() => store.append(0, ones(3, 1), ones(3, 1))).toThrow(
          'KvCache.append: 6 tokens do not fit a cache of 5; start a new session or shorten the prompt.',
        );
        expect(store.length).toBe(3);
        store.append(0, ones(2, 1), ones(2, 1));
      });
      expect(store.length).toBe(5);
      expect(() => create(0)).toThrow('KvCache: capacity must be 1 or more tokens, got 0.');
      store.dispose();
    });

    maybe('leaves nothing behind', async () => {
      const [layer, x] = [attention(), text(1)];
      await expectNoLeak(() => {
        const store = create(SEQ);
        const y = tf.tidy(() => inPieces(layer, store, x, [3, 1, 9, 1, 1]));
        store.truncate(14);
        store.dispose();
        return y;
      });
      x.dispose();
      layer.dispose();
    });

    if (create(1) instanceof ConcatKvCache) {
      it('refuses rows of different lengths', () => {
        tf.tidy(() => {
          expect(() => create(5).append(0, ones(3, 1, 2), ones(3, 1, 2), [3, 2])).toThrow(
            'ConcatKvCache.append: rows must have one length; use a PreallocatedKvCache for others.',
          );
        });
      });
      return;
    }

    maybe('gives batch rows of different lengths what each gets alone', async () => {
      const [layer, x, store] = [attention(), text(3), create(SEQ) as PreallocatedKvCache];
      // Pieces of each row: padding stands behind the real tokens.
      const counts = [[7, 4, 0], [1, 1, 1], [2, 3, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]; // biome-ignore format: a table
      const gap = tf.tidy(() => {
        const alone = [0, 1, 2].map((item) => layer.apply(part(x, 0, SEQ, item, 1), {}));
        const taken = [0, 0, 0];
        const gaps = counts.flatMap((newTokens) => {
          const seq = Math.max(...newTokens);
          const rows = newTokens.map(
            (count, item) =>
            tf.pad(part(x, taken[item]!, count, item, 1), [[0, 0], [0, seq - count], [0, 0]], 9), // biome-ignore format: padding
          );
          const y = append(layer, store, tf.concat(rows) as tf.Tensor3D, newTokens);
          return newTokens.flatMap((count, item) => {
            if (count === 0) return [];
            taken[item] += count;
            return [tf.sub(part(y, 0, count, item, 1), part(alone[item]!, taken[item]! - count, count))];
          });
        });
        expect(store.lengths).toEqual(taken);
        return tf.concat(gaps, 1);
      });
      await expectClose(gap, new Array(gap.size).fill(0), tolerance);
      tf.dispose([x, gap]);
      store.dispose();
      layer.dispose();
    });

    maybe('forks, and both go on apart', async () => {
      const [layer, x, other, store] = [attention(), text(1), text(1, 6), create(SEQ) as PreallocatedKvCache];
      const gaps = tf.tidy(() => {
        const prompt = part(x, 0, 8);
        append(layer, store, prompt);
        const fork = store.fork();
        const [mine, theirs] = [[store, part(x, 8, 9)] as const, [fork, part(other, 8, 9)] as const].map(
          ([cache, rest]) => {
            const pieces = tf.concat(
              [append(layer, cache, part(rest, 0, 1)), append(layer, cache, part(rest, 1, 8))],
              1,
            );
            return tf.sub(pieces, part(layer.apply(tf.concat([prompt, rest], 1), {}), 8, 9));
          },
        );
        expect(fork.length).toBe(SEQ);
        fork.dispose();
        return tf.concat([mine!, theirs!]);
      });
      await expectClose(gaps, new Array(gaps.size).fill(0), tolerance);
      tf.dispose([x, other, gaps]);
      store.dispose();
      layer.dispose();
    });

    it('refuses keys, values and counts that do not fit, and keeps what it has', () => {
      const store = create(SEQ);
      tf.tidy(() => {
        store.append(0, ones(3, 1, 2), ones(3, 1, 2));
        expect(() => store.append(0, ones(3, 1, 3), ones(3, 1, 3))).toThrow(
          'KvCache.append: k and v must be [2, seq, 2, 4], got [3,3,2,4] and [3,3,2,4].',
        );
        expect(() => store.append(0, ones(3, 1, 2), ones(2, 1, 2))).toThrow('got [2,3,2,4] and [2,2,2,4]');
        for (const bad of [[1], [1, 4], [-1, 0], [0.5, 1]]) {
          expect(() => store.append(0, ones(3, 1, 2), ones(3, 1, 2), bad)).toThrow(
            `KvCache.append: newTokens must be 2 numbers from 0 to 3, got [${bad}].`,
          );
        }
      });
      expect(store.length).toBe(3);
      store.dispose();
    });
  });
}
