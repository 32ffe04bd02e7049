import { describe, expect, it, vi } from 'vitest';
import type { CacheStore } from './cache-store.js';
import { memoryStore } from './memory-store.js';
import { type CacheRequest, type LoadedAnswer, ResponseCache } from './response-cache.js';

const SECRET = 'a secret for the tests only';

const request: CacheRequest = {
  tenant: 'clinic',
  model: 'model@1',
  adapter: null,
  template: 'template',
  messages: [{ role: 'user', content: 'How do I fall asleep?' }],
  sampling: { temperature: 0 },
  policyVersion: '1',
  cacheable: true,
};

interface Answer {
  text: string;
}

const setUp = (options: { storeSampled?: boolean; store?: CacheStore } = {}) => {
  const store = options.store ?? memoryStore();
  return { store, cache: new ResponseCache<Answer>({ secret: SECRET, ...options, store }) };
};

const loadOf = (text: string, complete = true) =>
  vi.fn(async (): Promise<LoadedAnswer<Answer>> => ({ value: { text }, complete }));

function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

describe('ResponseCache', () => {
  it('misses once, then hits without loading', async () => {
    const { cache } = setUp();
    const load = loadOf('Keep a rhythm.');
    expect(await cache.answer(request, load)).toEqual({
      value: { text: 'Keep a rhythm.' },
      cache: 'miss',
      shared: false,
    });
    expect(await cache.answer(request, load)).toEqual({
      value: { text: 'Keep a rhythm.' },
      cache: 'hit',
      shared: false,
    });
    expect(load).toHaveBeenCalledTimes(1);
    expect(await cache.stats()).toMatchObject({ hits: 1, misses: 1, bypasses: 0, entries: 1, storeErrors: 0 });
  });

  it('never answers another tenant, conversation or message', async () => {
    const { cache } = setUp();
    await cache.answer(request, loadOf('mine'));
    const others: Partial<CacheRequest>[] = [
      { tenant: 'other' },
      { conversationSalt: 's' },
      { policyVersion: '2' },
      { messages: [{ role: 'user', content: 'What did I say before?' }, ...request.messages] },
    ];
    for (const change of others) {
      const answer = await cache.answer({ ...request, ...change }, loadOf('yours'));
      expect(answer).toMatchObject({ value: { text: 'yours' }, cache: 'miss' });
    }
  });

  it('bypasses without a tenant, after a safety action and for unseeded samples', async () => {
    const { cache, store } = setUp();
    const cases: [Partial<CacheRequest>, string][] = [
      [{ tenant: undefined }, 'no-tenant'],
      [{ tenant: '' }, 'no-tenant'],
      [{ cacheable: false }, 'not-cacheable'],
      [{ sampling: { temperature: 0.7 } }, 'sampled'],
      [{ sampling: {} }, 'sampled'],
    ];
    for (const [change, bypassReason] of cases) {
      for (let repeat = 0; repeat < 2; repeat++) {
        const load = loadOf('fresh');
        expect(await cache.answer({ ...request, ...change }, load)).toMatchObject({ cache: 'bypass', bypassReason });
        expect(load).toHaveBeenCalledTimes(1);
      }
    }
    expect((await store.stats()).entries).toBe(0);
    expect(await cache.stats()).toMatchObject({
      hits: 0,
      misses: 0,
      bypasses: 10,
      bypassesByReason: { 'no-tenant': 4, 'not-cacheable': 2, sampled: 4 },
    });
  });

  it('does not serve a stored answer to a turn that must not be cached', async () => {
    const { cache } = setUp();
    await cache.answer(request, loadOf('stored'));
    expect(await cache.answer({ ...request, cacheable: false }, loadOf('fresh'))).toMatchObject({
      value: { text: 'fresh' },
      cache: 'bypass',
    });
  });

  it('stores samples with a seed, and without one only on request', async () => {
    const seeded = { ...request, sampling: { temperature: 0.7, seed: 0 } };
    const { cache } = setUp();
    await cache.answer(seeded, loadOf('a'));
    expect((await cache.answer(seeded, loadOf('b'))).cache).toBe('hit');
    const { cache: permissive } = setUp({ storeSampled: true });
    const unseeded = { ...request, sampling: { temperature: 0.7 } };
    await permissive.answer(unseeded, loadOf('a'));
    expect((await permissive.answer(unseeded, loadOf('b'))).cache).toBe('hit');
  });

  it('hands out an incomplete answer and does not store it', async () => {
    const { cache, store } = setUp();
    expect((await cache.answer(request, loadOf('Keep a', false))).value.text).toBe('Keep a');
    expect((await store.stats()).entries).toBe(0);
    expect((await cache.answer(request, loadOf('Keep a rhythm.'))).value.text).toBe('Keep a rhythm.');
  });

  it('runs one load for concurrent misses and gives each caller its own copy', async () => {
    const { cache } = setUp();
    const gate = deferred<LoadedAnswer<Answer>>();
    const load = vi.fn(() => gate.promise);
    const waiting = Array.from({ length: 5 }, () => cache.answer(request, load));
    gate.resolve({ value: { text: 'once' }, complete: true });
    const answers = await Promise.all(waiting);
    expect(load).toHaveBeenCalledTimes(1);
    expect(answers.map((answer) => [answer.cache, answer.shared])).toEqual([
      ['miss', false],
      ...Array.from({ length: 4 }, () => ['miss', true]),
    ]);
    (answers[1] as { value: Answer }).value.text = 'changed';
    expect(answers[2]?.value.text).toBe('once');
    expect((await cache.answer(request, loadOf('never'))).value.text).toBe('once');
    expect(await cache.stats()).toMatchObject({ misses: 5, shared: 4, hits: 1 });
  });

  it('rejects every waiter of a failed load, stores nothing and tries again next time', async () => {
    const { cache, store } = setUp();
    const gate = deferred<LoadedAnswer<Answer>>();
    const waiting = Array.from({ length: 3 }, () => cache.answer(request, () => gate.promise));
    gate.reject(new Error('the model fell over'));
    for (const result of await Promise.allSettled(waiting))
      expect(result).toMatchObject({ status: 'rejected', reason: { message: 'the model fell over' } });
    expect((await store.stats()).entries).toBe(0);
    expect(await cache.answer(request, loadOf('well again'))).toMatchObject({
      cache: 'miss',
      shared: false,
      value: { text: 'well again' },
    });
  });

  it('lets one waiter abort, the first included, without harm to the others', async () => {
    const { cache } = setUp();
    const gate = deferred<LoadedAnswer<Answer>>();
    const leader = new AbortController();
    let loadSignal: AbortSignal | undefined;
    const first = cache.answer(
      request,
      (signal) => {
        loadSignal = signal;
        return gate.promise;
      },
      leader.signal,
    );
    const second = cache.answer(request, loadOf('never'));
    leader.abort(new Error('first left'));
    await expect(first).rejects.toThrow('first left');
    expect(loadSignal?.aborted ?? false).toBe(false);
    gate.resolve({ value: { text: 'for the second' }, complete: true });
    expect((await second).value.text).toBe('for the second');
    expect((await cache.answer(request, loadOf('never'))).cache).toBe('hit');
  });

  it('stops the load when the last waiter leaves, stores nothing and lets a newcomer start afresh', async () => {
    const { cache, store } = setUp();
    const controllers = [new AbortController(), new AbortController()];
    const started = deferred<AbortSignal>();
    const gate = deferred<LoadedAnswer<Answer>>();
    const load = (signal: AbortSignal) => {
      started.resolve(signal);
      return gate.promise;
    };
    const waiting = controllers.map((controller) => cache.answer(request, load, controller.signal));
    const loadSignal = await started.promise;
    for (const controller of controllers) controller.abort(new Error('gone'));
    await Promise.allSettled(waiting);
    expect(loadSignal.aborted).toBe(true);
    const newcomer = cache.answer(request, loadOf('fresh'));
    gate.resolve({ value: { text: 'too late' }, complete: true });
    expect((await newcomer).value.text).toBe('fresh');
    await vi.waitFor(async () => expect((await store.stats()).entries).toBe(1));
    expect((await cache.answer(request, loadOf('never'))).value.text).toBe('fresh');
  });

  it('refuses a caller that had aborted before it asked, and does not load', async () => {
    const { cache } = setUp();
    const load = loadOf('never');
    await expect(cache.answer(request, load, AbortSignal.abort(new Error('early')))).rejects.toThrow('early');
    expect(load).not.toHaveBeenCalled();
  });

  it('deletes one tenant, and what that tenant was loading is not stored afterwards', async () => {
    const { cache } = setUp();
    const other = { ...request, tenant: 'other' };
    await cache.answer({ ...request, conversationSalt: 'earlier' }, loadOf('mine'));
    await cache.answer(other, loadOf('theirs'));
    const gate = deferred<LoadedAnswer<Answer>>();
    const loading = cache.answer(request, () => gate.promise);
    expect(await cache.deleteTenant('clinic')).toBe(1);
    gate.resolve({ value: { text: 'late' }, complete: true });
    expect((await loading).value.text).toBe('late');
    expect((await cache.answer(request, loadOf('after'))).cache).toBe('miss');
    expect((await cache.answer(other, loadOf('never'))).cache).toBe('hit');
  });

  it('clears everything', async () => {
    const { cache } = setUp();
    await cache.answer(request, loadOf('a'));
    await cache.clear();
    expect((await cache.answer(request, loadOf('b'))).cache).toBe('miss');
  });

  it('answers by loading when the store fails or holds no JSON, and counts it', async () => {
    const failing: CacheStore = {
      ...memoryStore(),
      get: async () => {
        throw new Error('connection lost');
      },
      set: async () => {
        throw new Error('connection lost');
      },
    };
    const { cache } = setUp({ store: failing });
    expect(await cache.answer(request, loadOf('still here'))).toMatchObject({
      value: { text: 'still here' },
      cache: 'miss',
    });
    expect((await cache.stats()).storeErrors).toBe(2);
    const { cache: damaged } = setUp({ store: { ...memoryStore(), get: async () => '{"text":' } });
    expect((await damaged.answer(request, loadOf('whole'))).value.text).toBe('whole');
  });

  it('gives the store neither the tenant nor the text of the prompt', async () => {
    const inner = memoryStore();
    const seen: string[] = [];
    const { cache } = setUp({
      store: {
        ...inner,
        set: async (key, record) => {
          seen.push(key, record.tenant);
          await inner.set(key, record);
        },
      },
    });
    await cache.answer(request, loadOf('a'));
    for (const text of seen) expect(text).toMatch(/^[0-9a-f]+$/);
  });

  it('refuses a short secret', () => {
    expect(() => new ResponseCache({ store: memoryStore(), secret: 'short' })).toThrow(
      'ResponseCache: secret must have at least 16 bytes, got 5; draw one with randomBytes(32).',
    );
  });
});
