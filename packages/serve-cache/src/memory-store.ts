import { LRUCache } from 'lru-cache';
import type { CacheRecord, CacheStore } from './cache-store.js';

/** Limits of a memory store. */
export interface MemoryStoreOptions {
  /** Budget in bytes for keys, tenant marks and values together. Default 64 MiB. */
  readonly maxBytes?: number;
  /** How long a record lives, in milliseconds; it is removed from memory then, read or not. Default ten minutes. */
  readonly ttlMs?: number;
}

/** A fixed allowance per record for the maps around it. */
const RECORD_OVERHEAD_BYTES = 128;

/**
 * A store in this process: least recently used records leave first when the byte budget is full.
 *
 * @throws when a limit is not a positive whole number.
 */
export function memoryStore({ maxBytes = 64 * 1024 * 1024, ttlMs = 600_000 }: MemoryStoreOptions = {}): CacheStore {
  checkLimit('maxBytes', maxBytes);
  checkLimit('ttlMs', ttlMs);
  const keysByTenant = new Map<string, Set<string>>();
  let evictions = 0;
  const records = new LRUCache<string, CacheRecord>({
    maxSize: maxBytes,
    ttl: ttlMs,
    ttlAutopurge: true,
    sizeCalculation: bytesOf,
    dispose: (record, key, reason) => {
      if (reason === 'evict') evictions++;
      if (reason !== 'set') forgetKey(keysByTenant, record.tenant, key);
    },
  });
  return {
    get: async (key) => records.get(key)?.value,
    set: async (key, record) => {
      records.delete(key); // a replaced record may belong to another tenant, and one too large must not leave the old one
      records.set(key, record);
      if (records.has(key)) rememberKey(keysByTenant, record.tenant, key);
    },
    delete: async (key) => records.delete(key),
    deleteByTenant: async (tenant) => {
      const keys = [...(keysByTenant.get(tenant) ?? [])];
      for (const key of keys) records.delete(key);
      return keys.length;
    },
    clear: async () => {
      records.clear();
      keysByTenant.clear();
    },
    stats: async () => {
      records.purgeStale();
      return { entries: records.size, bytes: records.calculatedSize, evictions };
    },
  };
}

/** Strings count two bytes per unit, the most an engine uses for them. */
function bytesOf(record: CacheRecord, key: string): number {
  return 2 * (key.length + record.tenant.length + record.value.length) + RECORD_OVERHEAD_BYTES;
}

function rememberKey(keysByTenant: Map<string, Set<string>>, tenant: string, key: string): void {
  const keys = keysByTenant.get(tenant);
  if (keys) keys.add(key);
  else keysByTenant.set(tenant, new Set([key]));
}

function forgetKey(keysByTenant: Map<string, Set<string>>, tenant: string, key: string): void {
  const keys = keysByTenant.get(tenant);
  keys?.delete(key);
  if (keys?.size === 0) keysByTenant.delete(tenant);
}

function checkLimit(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return;
  throw new Error(`memoryStore: ${name} must be a positive whole number, got ${String(value)}.`);
}
