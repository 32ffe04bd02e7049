import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { ConcatKvCache, GrowingKvCache } from './index.js';

const ones = (seq: number, value: number) => tf.fill<tf.Rank.R4>([1, seq, 2, 3], value);

for (const Cache of [ConcatKvCache, GrowingKvCache]) {
  describeOnBackends(`KvCache: ${Cache.name}`, () => {
    it('returns all keys and values of a layer in order, and counts tokens', async () => {
      const cache = new Cache(7);
      expect(cache.length).toBe(0);
      const inputs = [ones(2, 1), ones(2, -1), ones(1, 5), ones(1, -5)] as const;
      cache.append(0, inputs[0], inputs[1]);
      const { k, v } = cache.append(0, inputs[2], inputs[3]);
      expect(k.shape).toEqual([1, 3, 2, 3]);
      await expectClose(k, [...new Array(12).fill(1), ...new Array(6).fill(5)], 0);
      await expectClose(v, [...new Array(12).fill(-1), ...new Array(6).fill(-5)], 0);
      expect(cache.length).toBe(3);
      cache.dispose();
      expect(cache.length).toBe(0);
      tf.dispose([...inputs]);
    });

    it('refuses more tokens than its capacity and keeps what it has', () => {
      const cache = new Cache(5);
      const [three, two] = [ones(3, 1), ones(2, 1)];
      cache.append(0, three, three);
      expect(() => cache.append(0, three, three)).toThrow(
        'KvCache.append: 6 tokens do not fit a cache of 5; start a new session or shorten the prompt.',
      );
      expect(cache.append(0, two, two).k.shape[1]).toBe(5);
      expect(() => new Cache(0)).toThrow('capacity must be 1 or more tokens, got 0');
      cache.dispose();
      tf.dispose([three, two]);
    });

    it('takes back what some layers appended', async () => {
      const cache = new Cache(7);
      const [old, fresh] = [ones(2, 1), ones(3, 5)];
      for (const layer of [0, 1]) cache.append(layer, old, old);
      cache.append(0, fresh, fresh); // layer 1 fails before its turn
      cache.truncate(2);
      expect(cache.length).toBe(2);
      const { k } = cache.append(0, old, old);
      await expectClose(k, new Array(24).fill(1), 0);
      cache.truncate(0);
      expect(cache.length).toBe(0);
      cache.dispose();
      tf.dispose([old, fresh]);
    });

    it('leaves nothing behind, inside a tidy too', async () => {
      await expectNoLeak(() => {
        const cache = new Cache(7);
        tf.tidy(() => {
          cache.append(0, ones(2, 1), ones(2, 1));
          cache.append(0, ones(1, 1), ones(1, 1));
          cache.truncate(1);
        });
        expect(cache.length).toBe(1);
        cache.dispose();
      });
    });
  });
}

describeOnBackends('GrowingKvCache', () => {
  const shape = [2, 3] as const;
  const rowsOf = async (t: tf.Tensor, count: number) => (await t.data()).slice(0, count * 6);

  it('makes room that doubles up to the capacity, and keeps what it holds', async () => {
    const cache = new GrowingKvCache(29);
    const five = ones(5, 7);
    cache.append(0, five, five);
    const rooms: number[] = [];
    for (let position = 5; position < 29; position++) {
      const room = cache.reserve(0, shape);
      expect([room.position, room.v.shape]).toEqual([position, room.k.shape]);
      if (room.k.shape[1] !== rooms.at(-1)) rooms.push(room.k.shape[1]);
    }
    expect(rooms).toEqual([16, 29]);
    expect(cache.length).toBe(29);
    await expectClose(await rowsOf(cache.append(1, five, five).k, 5), new Array(30).fill(7), 0);
    expect(() => cache.reserve(0, shape)).toThrow('30 tokens do not fit a cache of 29');
    cache.truncate(5);
    await expectClose(await rowsOf(cache.reserve(0, shape).k, 5), new Array(30).fill(7), 0);
    cache.dispose();
    five.dispose();
  });

  it('makes room in an empty cache, for keys and values apart', () => {
    const cache = new GrowingKvCache(7);
    const { k, v, position } = cache.reserve(0, shape);
    expect([position, k.shape, v.shape]).toEqual([0, [1, 7, 2, 3], [1, 7, 2, 3]]);
    expect(k.dataId).not.toBe(v.dataId);
    cache.dispose();
  });

  it('appends behind the reserved tokens and not behind their room', async () => {
    const cache = new GrowingKvCache(31);
    const [three, two] = [ones(3, 1), ones(2, 5)];
    cache.append(0, three, three);
    cache.reserve(0, shape);
    const { k } = cache.append(0, two, two);
    expect(k.shape).toEqual([1, 6, 2, 3]);
    await expectClose((await k.data()).slice(4 * 6), new Array(12).fill(5), 0);
    cache.dispose();
    tf.dispose([three, two]);
  });

  it('never hands out room in memory that a caller gave', () => {
    const cache = new GrowingKvCache(7);
    const three = ones(3, 1);
    cache.append(0, three, three);
    cache.truncate(1);
    const { k, v } = cache.reserve(0, shape);
    expect(k.dataId === three.dataId || v.dataId === three.dataId || k.dataId === v.dataId).toBe(false);
    cache.dispose();
    three.dispose();
  });

  it('leaves nothing behind, inside a tidy too', async () => {
    await expectNoLeak(() => {
      const cache = new GrowingKvCache(37);
      tf.tidy(() => {
        cache.append(0, ones(2, 1), ones(2, 1));
        for (let i = 0; i < 20; i++) cache.reserve(0, shape);
        cache.append(0, ones(2, 1), ones(2, 1));
      });
      cache.dispose();
    });
  });
});
