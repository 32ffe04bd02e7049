import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { ConcatSequenceCache } from './sequence-cache.js';

const rows = (values: readonly number[]) => tf.tensor4d([...values], [1, values.length, 1, 1]);
/** Adds rows and returns all that there are. */
const add = (cache: ConcatSequenceCache, key: string, values: readonly number[], needed?: number) =>
  tf.tidy(() => [...cache.append(key, rows(values), rows(values), needed).k.dataSync()]);

describeOnBackends('ConcatSequenceCache', () => {
  it('drops rows that no later pass needs once a pass stands, and takes back one that does not', async () => {
    await expectNoLeak(() => {
      const cache = new ConcatSequenceCache();
      const start = cache.mark();
      expect(add(cache, 'newest', [1, 2, 3], 2)).toEqual([1, 2, 3]);
      add(cache, 'all', [1, 2, 3]);
      cache.settle(cache.mark());
      expect(cache.bytes).toBe(4 * 2 * (2 + 3));
      const mark = cache.mark();
      expect(add(cache, 'newest', [4, 5, 6], 2)).toEqual([2, 3, 4, 5, 6]);
      expect(add(cache, 'all', [4])).toEqual([1, 2, 3, 4]);
      cache.rollBack(mark);
      expect(add(cache, 'newest', [], 2)).toEqual([2, 3]);
      expect(add(cache, 'all', [7])).toEqual([1, 2, 3, 7]);
      cache.rollBack(start);
      expect(cache.isEmpty).toBe(true);
      return [];
    });
  });

  it('settles a pass while the next is under way, which can still be taken back', async () => {
    await expectNoLeak(() => {
      const cache = new ConcatSequenceCache();
      add(cache, 'newest', [1, 2], 1);
      const first = cache.mark();
      add(cache, 'newest', [3, 4, 5], 1);
      const fork = cache.fork();
      cache.settle(first);
      cache.rollBack(first);
      expect(add(cache, 'newest', [6], 1)).toEqual([2, 6]);
      expect(add(fork, 'newest', [7], 1)).toEqual([1, 2, 3, 4, 5, 7]);
      for (const each of [cache, fork]) each.dispose();
      return [];
    });
  });
});
