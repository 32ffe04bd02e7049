import { describe, expect, it } from 'vitest';
import type { CacheStore } from '../src/cache-store.js';

/** What every `CacheStore` must do. A store's own test file calls this with a way to make an empty one. */
export function describeCacheStore(name: string, createStore: () => Promise<CacheStore>): void {
  describe(`${name} as a CacheStore`, () => {
    it('gives back what was set, and undefined for the rest', async () => {
      const store = await createStore();
      await store.set('a', { tenant: 't1', value: 'first' });
      expect(await store.get('a')).toBe('first');
      expect(await store.get('b')).toBeUndefined();
    });

    it('keeps every character of a value', async () => {
      const store = await createStore();
      const value = 'line\nbreak \u0000 nul, emoji 🫶, "quotes", \\ and é';
      await store.set('a', { tenant: 't1', value });
      expect(await store.get('a')).toBe(value);
    });

    it('replaces a value and moves the record to its new tenant', async () => {
      const store = await createStore();
      await store.set('a', { tenant: 't1', value: 'first' });
      await store.set('a', { tenant: 't2', value: 'second' });
      expect(await store.deleteByTenant('t1')).toBe(0);
      expect(await store.get('a')).toBe('second');
      expect(await store.deleteByTenant('t2')).toBe(1);
      expect(await store.get('a')).toBeUndefined();
    });

    it('says whether a delete found something', async () => {
      const store = await createStore();
      await store.set('a', { tenant: 't1', value: 'first' });
      expect(await store.delete('a')).toBe(true);
      expect(await store.delete('a')).toBe(false);
      expect(await store.get('a')).toBeUndefined();
    });

    it('deletes one tenant and leaves the others', async () => {
      const store = await createStore();
      for (const tenant of ['t1', 't2', 't11']) {
        for (const key of ['a', 'b']) await store.set(`${tenant}/${key}`, { tenant, value: key });
      }
      expect(await store.deleteByTenant('t1')).toBe(2);
      expect(await store.get('t1/a')).toBeUndefined();
      expect(await store.get('t2/a')).toBe('a');
      expect(await store.get('t11/b')).toBe('b');
      expect((await store.stats()).entries).toBe(4);
    });

    it('counts entries and bytes, and has none after clear', async () => {
      const store = await createStore();
      const empty = await store.stats();
      await store.set('a', { tenant: 't1', value: 'x'.repeat(1000) });
      const one = await store.stats();
      await store.clear();
      const cleared = await store.stats();
      expect([empty.entries, one.entries, cleared.entries]).toEqual([0, 1, 0]);
      expect(one.bytes).toBeGreaterThanOrEqual(1000);
      expect(cleared.bytes).toBe(empty.bytes);
      expect(await store.get('a')).toBeUndefined();
    });

    it('does not count deletions as evictions', async () => {
      const store = await createStore();
      await store.set('a', { tenant: 't1', value: 'first' });
      await store.set('a', { tenant: 't1', value: 'second' });
      await store.delete('a');
      await store.deleteByTenant('t1');
      expect((await store.stats()).evictions).toBe(0);
    });
  });
}
