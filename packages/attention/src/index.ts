export { Attention, type AttentionConfig, type AttentionPass, type AttentionProjections } from './attention.js';
export { ConcatKvCache, type KvCache } from './kv-cache.js';
export { type RopeConfig, type RopeScaling, type RopeTables, resolveRopeConfig, ropeTables } from './rope.js';
