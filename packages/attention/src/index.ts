export type { RopeTables } from '@therapeutic-moe/kernels';
export { alibiSlopes } from './alibi-slopes.js';
export {
  Attention,
  type AttentionConfig,
  type AttentionLayer,
  type AttentionPass,
  type AttentionProjections,
  type CachePass,
} from './attention.js';
export { type AttentionCost, attentionCost } from './attention-cost.js';
export { ConcatKvCache } from './concat-kv-cache.js';
export { DomainAttention, type DomainTerms } from './domain-attention.js';
export {
  DomainBiases,
  DomainProjections,
  type DomainTerm,
  type DomainTermSizes,
  LowRankDomainProjections,
} from './domain-terms.js';
export type { CachedKeys, KvCache, KvRoom } from './kv-cache.js';
export type { LevelCache } from './level-cache.js';
export { MultiLevelAttention } from './multi-level-attention.js';
export { keptTokens, type MultiLevelConfig, resolveMultiLevelConfig } from './multi-level-config.js';
export {
  HybridEncoding,
  LearnedEncoding,
  type PositionalEncoding,
  SinusoidalEncoding,
  sinusoidalTable,
} from './positional-encoding.js';
export { type KvCacheOptions, type KvDtype, PreallocatedKvCache } from './preallocated-kv-cache.js';
export { type RopeRow, ropeTables, ropeTablesOfRows } from './rope.js';
export { type RopeConfig, resolveRopeConfig } from './rope-config.js';
export { type RopeFrequencies, ropeFrequencies, ropeStays } from './rope-frequencies.js';
export type {
  DynamicScaling,
  LinearScaling,
  Llama3Scaling,
  LongRopeScaling,
  NtkScaling,
  RopeScaling,
  YarnScaling,
} from './rope-scaling.js';
