export {
  Attention,
  type AttentionConfig,
  type AttentionLayer,
  type AttentionPass,
  type AttentionProjections,
} from './attention.js';
export { type AttentionCost, attentionCost } from './attention-cost.js';
export { type CachedKeys, ConcatKvCache, GrowingKvCache, type KvCache, type KvRoom } from './kv-cache.js';
export type { LevelCache } from './level-cache.js';
export { MultiLevelAttention } from './multi-level-attention.js';
export { type MultiLevelConfig, resolveMultiLevelConfig } from './multi-level-config.js';
export { type RopeConfig, type RopeScaling, type RopeTables, resolveRopeConfig, ropeTables } from './rope.js';
