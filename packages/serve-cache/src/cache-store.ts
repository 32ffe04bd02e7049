/** What a store holds for one key. */
export interface CacheRecord {
  /** Opaque mark of the tenant the record belongs to; `deleteByTenant` finds records by it. */
  readonly tenant: string;
  /** The serialised answer. */
  readonly value: string;
}

/** What a store can say about itself. */
export interface CacheStoreStats {
  readonly entries: number;
  /** Bytes the store counts against its budget. */
  readonly bytes: number;
  /** Records dropped for want of room since the store was made; expiry and deletion are not evictions. */
  readonly evictions: number;
}

/**
 * Where answers are kept. A store knows neither prompts nor tenants' names: keys and tenant marks are hashes. Every implementation runs
 * `test/cache-store-conformance.ts`.
 */
export interface CacheStore {
  /** The value, or undefined when it is absent or expired. */
  get(key: string): Promise<string | undefined>;
  /** Stores or replaces. A record that cannot fit is not stored, and what the key held before is gone. */
  set(key: string, record: CacheRecord): Promise<void>;
  /** @returns whether something was deleted. */
  delete(key: string): Promise<boolean>;
  /** Deletes every record of one tenant and no other. @returns how many. */
  deleteByTenant(tenant: string): Promise<number>;
  clear(): Promise<void>;
  stats(): Promise<CacheStoreStats>;
}
