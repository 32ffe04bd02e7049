export type { RopeTables } from '@therapeutic-moe/kernels';
export { alibiSlopes } from './alibi-slopes.js';
export {
  Attention,
  type AttentionConfig,
  type AttentionLayer,
  type AttentionPass,
  type AttentionProjections,
} from './attention.js';
export { type CachedKeys, ConcatKvCache, GrowingKvCache, type KvCache, type KvRoom } from './kv-cache.js';
export {
  HybridEncoding,
  LearnedEncoding,
  type PositionalEncoding,
  SinusoidalEncoding,
  sinusoidalTable,
} from './positional-encoding.js';
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
