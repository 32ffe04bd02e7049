export { Attention, type AttentionConfig, type AttentionPass, type AttentionProjections } from './attention.js';
export { ConcatKvCache, GrowingKvCache, type KvCache, type KvRoom } from './kv-cache.js';
export { type RopeConfig, type RopeScaling, type RopeTables, resolveRopeConfig, ropeTables } from './rope.js';
