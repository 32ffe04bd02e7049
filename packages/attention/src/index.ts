export {
  Attention,
  type AttentionConfig,
  type AttentionLayer,
  type AttentionPass,
  type AttentionProjections,
  type CachePass,
} from './attention.js';
export { ConcatKvCache } from './concat-kv-cache.js';
export type { CachedKeys, KvCache, KvRoom } from './kv-cache.js';
export { type KvCacheOptions, type KvDtype, PreallocatedKvCache } from './preallocated-kv-cache.js';
export { type RopeConfig, type RopeScaling, type RopeTables, resolveRopeConfig, ropeTables } from './rope.js';
