import { type CacheKeyParts, type CacheSampling, cacheKey, tenantMark } from './cache-key.js';
import type { CacheStore } from './cache-store.js';
import { Flight } from './flight.js';

/** A request as the cache sees it: the parts of the key, and what forbids caching. */
export interface CacheRequest extends Omit<CacheKeyParts, 'tenant'> {
  /** Whose request it is. Without a tenant the cache is bypassed. */
  readonly tenant: string | undefined;
  /** Whether the safety policy allows storing; false for every turn it acted on. */
  readonly cacheable: boolean;
}

/** What a load gives back. */
export interface LoadedAnswer<T> {
  readonly value: T;
  /** False when the answer is cut off or otherwise not whole; it is handed out and not stored. */
  readonly complete: boolean;
}

/** `hit`: from the store. `miss`: loaded, by this call or by one it joined. `bypass`: loaded, and the cache was not asked. */
export type CacheStatus = 'hit' | 'miss' | 'bypass';

/** Why the cache was not asked. */
export type BypassReason = 'no-tenant' | 'not-cacheable' | 'sampled';

/** An answer and where it came from. */
export interface CachedAnswer<T> {
  readonly value: T;
  readonly cache: CacheStatus;
  /** True when this call waited for a load that another one had started. */
  readonly shared: boolean;
  readonly bypassReason?: BypassReason;
}

/** Counters since the cache was made, and the store's size now. */
export interface ResponseCacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Misses answered by a load that was already under way. */
  readonly shared: number;
  readonly bypasses: number;
  readonly bypassesByReason: Readonly<Record<BypassReason, number>>;
  /** Reads, writes or values of the store that failed; the request was answered by a load all the same. */
  readonly storeErrors: number;
  readonly entries: number;
  readonly bytes: number;
  readonly evictions: number;
}

/** How a response cache is put together. */
export interface ResponseCacheOptions {
  readonly store: CacheStore;
  /** Secret of the keys, at least 16 bytes. Draw one with `randomBytes(32)`; a store that outlives the process needs a kept one. */
  readonly secret: string | Uint8Array;
  /** Also store answers drawn at temperature > 0 without a seed: every later caller gets the first draw. Default false. */
  readonly storeSampled?: boolean;
}

const MINIMUM_SECRET_BYTES = 16;

/**
 * Answers given before, per tenant. Concurrent requests for one key run one load; errors, incomplete answers, turns the safety policy
 * acted on and unseeded samples are never stored. Values travel through JSON.
 */
export class ResponseCache<T> {
  readonly #store: CacheStore;
  readonly #secret: string | Uint8Array;
  readonly #storeSampled: boolean;
  /** What a new caller may join, by key; and all loads that have not ended, those nobody may join included. */
  readonly #flights = new Map<string, Flight<CachedAnswer<T>>>();
  readonly #live = new Set<Flight<CachedAnswer<T>>>();
  readonly #bypasses: Record<BypassReason, number> = { 'no-tenant': 0, 'not-cacheable': 0, sampled: 0 };
  #hits = 0;
  #misses = 0;
  #shared = 0;
  #storeErrors = 0;

  /** @throws when the secret is shorter than 16 bytes. */
  constructor({ store, secret, storeSampled = false }: ResponseCacheOptions) {
    const length = Buffer.byteLength(secret);
    if (length < MINIMUM_SECRET_BYTES) {
      throw new Error(
        `ResponseCache: secret must have at least ${MINIMUM_SECRET_BYTES} bytes, got ${length}; draw one with randomBytes(32).`,
      );
    }
    this.#store = store;
    this.#secret = secret;
    this.#storeSampled = storeSampled;
  }

  /**
   * The stored answer, or the one `load` gives.
   *
   * @param load makes the answer. Its signal aborts when every caller that waits for it has aborted.
   * @param signal this caller's own; aborting it rejects this call and no other.
   * @throws what `load` rejects with, to every caller that waited; nothing is stored then.
   */
  async answer(
    request: CacheRequest,
    load: (signal: AbortSignal) => Promise<LoadedAnswer<T>>,
    signal?: AbortSignal,
  ): Promise<CachedAnswer<T>> {
    signal?.throwIfAborted();
    const bypassReason = this.#bypassReason(request);
    if (bypassReason) return this.#bypass(bypassReason, load, signal);
    const parts = { ...request, tenant: request.tenant as string };
    const key = cacheKey(this.#secret, parts);
    const running = this.#flights.get(key);
    const joined = running && !running.abandoned && !running.discarded ? running : undefined;
    const answer = await (joined ?? this.#start(key, parts.tenant, load)).wait(signal);
    this.#count(answer.cache, joined !== undefined);
    return joined ? { ...answer, value: structuredClone(answer.value), shared: answer.cache === 'miss' } : answer;
  }

  /** Deletes all of one tenant's answers; loads under way are still handed to who waits for them, and not stored. */
  async deleteTenant(tenant: string): Promise<number> {
    const mark = tenantMark(this.#secret, tenant);
    await this.#discardFlights((flight) => flight.tenant === mark);
    return this.#store.deleteByTenant(mark);
  }

  /** Deletes everything, as `deleteTenant` does for one. */
  async clear(): Promise<void> {
    await this.#discardFlights(() => true);
    await this.#store.clear();
  }

  async stats(): Promise<ResponseCacheStats> {
    const bypasses = Object.values(this.#bypasses).reduce((sum, count) => sum + count, 0);
    return {
      hits: this.#hits,
      misses: this.#misses,
      shared: this.#shared,
      bypasses,
      bypassesByReason: { ...this.#bypasses },
      storeErrors: this.#storeErrors,
      ...(await this.#store.stats()),
    };
  }

  #bypassReason({ tenant, cacheable, sampling }: CacheRequest): BypassReason | undefined {
    if (tenant === undefined || tenant === '') return 'no-tenant';
    if (!cacheable) return 'not-cacheable';
    return this.#storeSampled || isRepeatable(sampling) ? undefined : 'sampled';
  }

  async #bypass(
    bypassReason: BypassReason,
    load: (signal: AbortSignal) => Promise<LoadedAnswer<T>>,
    signal?: AbortSignal,
  ): Promise<CachedAnswer<T>> {
    this.#bypasses[bypassReason]++;
    const { value } = await load(signal ?? new AbortController().signal);
    return { value, cache: 'bypass', shared: false, bypassReason };
  }

  #start(
    key: string,
    tenant: string,
    load: (signal: AbortSignal) => Promise<LoadedAnswer<T>>,
  ): Flight<CachedAnswer<T>> {
    const flight = new Flight<CachedAnswer<T>>(tenantMark(this.#secret, tenant), (self, signal) =>
      this.#readOrLoad(key, self, load, signal),
    );
    this.#flights.set(key, flight);
    this.#live.add(flight);
    void flight.settled().then(() => {
      this.#live.delete(flight);
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    return flight;
  }

  async #readOrLoad(
    key: string,
    flight: Flight<CachedAnswer<T>>,
    load: (signal: AbortSignal) => Promise<LoadedAnswer<T>>,
    signal: AbortSignal,
  ): Promise<CachedAnswer<T>> {
    const stored = await this.#read(key);
    if (stored) return { value: stored.value, cache: 'hit', shared: false };
    signal.throwIfAborted();
    const { value, complete } = await load(signal);
    if (complete && !flight.discarded && !signal.aborted) {
      flight.writing = this.#write(key, flight.tenant, value);
      await flight.writing;
    }
    return { value, cache: 'miss', shared: false };
  }

  async #read(key: string): Promise<{ value: T } | undefined> {
    try {
      const stored = await this.#store.get(key);
      return stored === undefined ? undefined : { value: JSON.parse(stored) as T };
    } catch {
      this.#storeErrors++;
      return undefined;
    }
  }

  async #write(key: string, tenant: string, value: T): Promise<void> {
    try {
      await this.#store.set(key, { tenant, value: JSON.stringify(value) });
    } catch {
      this.#storeErrors++;
    }
  }

  #count(cache: CacheStatus, joined: boolean): void {
    if (cache === 'hit') this.#hits++;
    else this.#misses++;
    if (cache === 'miss' && joined) this.#shared++;
  }

  /** Marks loads so that they store nothing, and waits for writes that had begun. */
  async #discardFlights(concerns: (flight: Flight<CachedAnswer<T>>) => boolean): Promise<void> {
    const flights = [...this.#live].filter(concerns);
    for (const flight of flights) flight.discarded = true;
    await Promise.all(flights.map((flight) => flight.writing));
  }
}

/** Greedy, or drawn from a stated seed: the same request gives the same answer. */
function isRepeatable({ temperature, seed }: CacheSampling): boolean {
  return temperature === 0 || seed !== undefined;
}
