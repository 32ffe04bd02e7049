import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { ConcatKvCache } from './index.js';

const ones = (seq: number, value: number) => tf.fill<tf.Rank.R4>([1, seq, 2, 3], value);

describeOnBackends('ConcatKvCache', () => {
  it('returns all keys and values of a layer in order, and counts tokens', async () => {
    const cache = new ConcatKvCache(7);
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
    const cache = new ConcatKvCache(5);
    const [three, two] = [ones(3, 1), ones(2, 1)];
    cache.append(0, three, three);
    expect(() => cache.append(0, three, three)).toThrow(
      'KvCache.append: 6 tokens do not fit a cache of 5; start a new session or shorten the prompt.',
    );
    expect(cache.append(0, two, two).k.shape[1]).toBe(5);
    expect(() => new ConcatKvCache(0)).toThrow('capacity must be 1 or more tokens, got 0');
    cache.dispose();
    tf.dispose([three, two]);
  });

  it('takes back what some layers appended', async () => {
    const cache = new ConcatKvCache(7);
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
      const cache = new ConcatKvCache(7);
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
