import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { ConcatKvCache, type KvCacheOptions, PreallocatedKvCache } from './index.js';

const shape = [2, 4] as const;
const ones = (seq: number, value: number, batch = 1) => tf.fill<tf.Rank.R4>([batch, seq, ...shape], value);
const appendOnes = (cache: PreallocatedKvCache, seq: number, value: number, batch = 1) =>
  tf.tidy(() => void cache.append(0, ones(seq, value, batch), ones(seq, -value, batch)));
const FLOATS_OF_TOKEN = 2 * 2 * 4;

describeOnBackends('PreallocatedKvCache', (backend) => {
  it.skipIf(backend === 'cpu')('takes all its memory at once, and every token goes into it', () => {
    const cache = new PreallocatedKvCache({ capacity: 13 });
    appendOnes(cache, 3, 1);
    const { numTensors, numBytes } = tf.memory();
    const { k } = cache.reserve(0, shape)!;
    for (let i = 4; i < 13; i++) appendOnes(cache, 1, i);
    expect([cache.length, cache.bytes]).toEqual([13, 13 * 4 * FLOATS_OF_TOKEN]);
    expect([tf.memory().numTensors, tf.memory().numBytes, k.isDisposed]).toEqual([numTensors, numBytes, false]);
    cache.dispose();
  });

  it('makes room that doubles up to the capacity, and keeps what it holds', async () => {
    const cache = new PreallocatedKvCache({ capacity: 29, initialRoom: 3 });
    appendOnes(cache, 5, 7);
    const rooms: number[] = [];
    for (let position = 5; position < 29; position++) {
      const room = cache.reserve(0, shape)!;
      expect([room.position, room.v.shape]).toEqual([position, room.k.shape]);
      if (room.k.shape[1] !== rooms.at(-1)) rooms.push(room.k.shape[1]);
    }
    expect(rooms).toEqual([10, 22, 29]);
    expect(() => cache.reserve(0, shape)).toThrow('30 tokens do not fit a cache of 29');
    cache.truncate(5);
    const { k, v } = cache.reserve(0, shape)!;
    await expectClose((await k.data()).slice(0, 5 * 8), new Array(5 * 8).fill(7), 0);
    await expectClose((await v.data()).slice(0, 5 * 8), new Array(5 * 8).fill(-7), 0);
    cache.dispose();
  });

  it('never hands out room in memory that a caller gave', async () => {
    const cache = new PreallocatedKvCache({ capacity: 3 });
    const three = ones(3, 1);
    tf.tidy(() => void cache.append(0, three, three));
    cache.truncate(1);
    appendOnes(cache, 2, 5);
    await expectClose(three, new Array(24).fill(1), 0);
    cache.dispose();
    three.dispose();
  });

  it('bounds its memory by the window, and counts on', () => {
    const cache = new PreallocatedKvCache({ capacity: 1000, window: 7, initialRoom: 2 });
    for (let i = 0; i < 50; i++) appendOnes(cache, 1 + (i % 3), i);
    expect(cache.bytes).toBe(2 * 7 * 4 * FLOATS_OF_TOKEN);
    appendOnes(cache, 31, 1); // needs more for itself
    expect(cache.bytes).toBe((6 + 31) * 4 * FLOATS_OF_TOKEN);
    appendOnes(cache, 1, 1);
    expect([cache.bytes, cache.length]).toEqual([2 * 7 * 4 * FLOATS_OF_TOKEN, 99 + 31 + 1]);
    cache.dispose();
  });

  it('says where a window has dropped what truncate would show again', () => {
    const cache = new PreallocatedKvCache({ capacity: 100, window: 5 });
    for (let i = 0; i < 23; i++) appendOnes(cache, 1, i);
    expect([cache.reaches(22), cache.reaches(4), cache.reaches(0)]).toEqual([true, false, true]);
    expect(() => cache.truncate(4)).toThrow(
      'KvCache.truncate: tokens that are seen from position 4 have left the window of 5; start a new session.',
    );
    expect(cache.length).toBe(23);
    cache.truncate(0);
    appendOnes(cache, 2, 1);
    expect(cache.length).toBe(2);
    cache.dispose();
  });

  it('keeps int8 in headDim + 4 bytes, and hands no room to kernels of floats', () => {
    const cache = new PreallocatedKvCache({ capacity: 11, dtype: 'int8' });
    appendOnes(cache, 3, 1, 2);
    expect(cache.bytes).toBe(2 * 11 * 2 * 2 * (4 + 4)); // batch, room, k and v, heads
    expect(cache.reserve(0, shape)).toBeUndefined();
    expect(cache.length).toBe(3);
    cache.dispose();
  });

  it('refuses options and sizes that cannot be', () => {
    const refuse = (options: Partial<KvCacheOptions>, words: string) =>
      expect(() => new PreallocatedKvCache({ capacity: 7, ...options })).toThrow(words);
    refuse({ window: 0 }, 'KvCache: window must be a whole number of 1 or more, got 0; leave it out for none.');
    refuse({ window: 2.5 }, 'got 2.5');
    refuse({ capacity: 7.5 }, 'KvCache: capacity must be a whole number of tokens, got 7.5');
    const words = 'KvCache.truncate: length must be a whole number of 0 or more tokens, got';
    for (const each of [new PreallocatedKvCache({ capacity: 7 }), new ConcatKvCache(7)]) {
      expect(() => each.truncate(-1)).toThrow(`${words} -1.`);
      expect(() => each.truncate(1.5)).toThrow(`${words} 1.5.`);
    }
    refuse({ initialRoom: 0 }, 'KvCache: initialRoom must be a whole number of 1 or more, got 0.');
    refuse({ dtype: 'int4' as 'int8' }, "KvCache: dtype must be float32 or int8, got 'int4'.");
    const cache = new PreallocatedKvCache({ capacity: 7, dtype: 'int8' });
    tf.tidy(() => {
      const odd = tf.ones<tf.Rank.R4>([1, 2, 3, 6]);
      expect(() => cache.append(0, odd, odd)).toThrow('headDim must be a multiple of 4, got 6; use float32.');
    });
    expect(cache.length).toBe(0);
    cache.dispose();
  });
});
