export { type CacheKeyParts, type CacheSampling, cacheKey, tenantMark } from './cache-key.js';
export type { CacheRecord, CacheStore, CacheStoreStats } from './cache-store.js';
export type { CacheKeyValue } from './canonical-bytes.js';
export { type MemoryStoreOptions, memoryStore } from './memory-store.js';
export {
  type BypassReason,
  type CachedAnswer,
  type CacheRequest,
  type CacheStatus,
  type LoadedAnswer,
  ResponseCache,
  type ResponseCacheOptions,
  type ResponseCacheStats,
} from './response-cache.js';
