import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { describeCacheStore } from '../test/cache-store-conformance.js';
import { memoryStore } from './memory-store.js';

describeCacheStore('memoryStore', async () => memoryStore());

describe('memoryStore', () => {
  it('drops the least recently used record when the byte budget is full', async () => {
    const store = memoryStore({ maxBytes: 3 * (2 * (1 + 2 + 100) + 128) });
    const value = 'x'.repeat(100);
    for (const key of ['a', 'b', 'c']) await store.set(key, { tenant: 't1', value });
    await store.get('a');
    await store.set('d', { tenant: 't1', value });
    expect(await store.get('b')).toBeUndefined();
    expect(await store.get('a')).toBe(value);
    expect(await store.stats()).toMatchObject({ entries: 3, evictions: 1 });
    expect(await store.deleteByTenant('t1')).toBe(3);
  });

  it('never holds more bytes than its budget', async () => {
    const store = memoryStore({ maxBytes: 5000 });
    for (let index = 0; index < 200; index++) {
      await store.set(`k${index}`, { tenant: `t${index % 3}`, value: 'y'.repeat((index * 37) % 900) });
      expect((await store.stats()).bytes).toBeLessThanOrEqual(5000);
    }
  });

  it('does not store a record larger than the budget, and drops what the key held', async () => {
    const store = memoryStore({ maxBytes: 1000 });
    await store.set('a', { tenant: 't1', value: 'small' });
    await store.set('a', { tenant: 't1', value: 'x'.repeat(2000) });
    expect(await store.get('a')).toBeUndefined();
    expect(await store.deleteByTenant('t1')).toBe(0);
  });

  it('removes an expired record from memory without being asked for it', async () => {
    const store = memoryStore({ ttlMs: 20 });
    await store.set('a', { tenant: 't1', value: 'first' });
    await setTimeout(80);
    expect(await store.deleteByTenant('t1')).toBe(0);
    expect(await store.stats()).toMatchObject({ entries: 0, evictions: 0 });
  });

  it('does not prolong a life by reading', async () => {
    const store = memoryStore({ ttlMs: 30 });
    await store.set('a', { tenant: 't1', value: 'first' });
    for (let step = 0; step < 20; step++) {
      await store.get('a');
      await setTimeout(5);
    }
    expect(await store.get('a')).toBeUndefined();
  });

  it('refuses limits that bound nothing', () => {
    expect(() => memoryStore({ maxBytes: 0 })).toThrow('memoryStore: maxBytes must be a positive whole number, got 0.');
    expect(() => memoryStore({ ttlMs: Number.POSITIVE_INFINITY })).toThrow(
      'memoryStore: ttlMs must be a positive whole number, got Infinity.',
    );
  });
});
