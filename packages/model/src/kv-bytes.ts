import { type KvDtype, keptTokens as keptForLevels } from '@therapeutic-moe/attention';
import type { ModelConfig } from './model-config.js';
import { maxPositions } from './rotary-positions.js';

/** How many of the newest tokens attention needs the keys and values of, the next one included; undefined: all. */
export function keptTokens({ attention, slidingWindow }: ModelConfig): number | undefined {
  return attention?.kind === 'multi-level' ? keptForLevels(attention) : slidingWindow;
}

/** Keys and values of attention that one token leaves in the cache, in numbers; as long as it is kept (`keptTokens`). */
export function kvValuesPerToken({ numHiddenLayers, numKeyValueHeads, headDim }: ModelConfig): number {
  return 2 * numHiddenLayers * numKeyValueHeads * headDim;
}

/** Bytes that one token's keys and values take in a session, by how it keeps them; as long as it does (`keptTokens`). */
export function kvBytesPerToken(config: ModelConfig, dtype: KvDtype): number {
  const scales = 2 * config.numHiddenLayers * config.numKeyValueHeads; // a float for each token and head
  return dtype === 'int8' ? kvValuesPerToken(config) + 4 * scales : 4 * kvValuesPerToken(config);
}

/** Keys and values that the blocks of coarse levels leave in the cache for each token, in numbers; they are kept for good. */
export function blockValuesPerToken(config: ModelConfig): number {
  return stridesOf(config).reduce((sum, stride) => sum + kvValuesPerToken(config) / stride, 0);
}

/**
 * Bytes that attention takes in a session as long as the model serves, by how it keeps keys and values: those of every
 * token, or where some are dropped room for twice those that are kept; blocks of coarse levels, always float32, and what
 * the last of them brought. What routers and experts keep that look along the sequence is not counted.
 */
export function fullSessionBytes(config: ModelConfig, dtype: KvDtype): number {
  return sessionBytes(config, dtype, maxPositions(config));
}

/** The same for a session of so many tokens. */
export function sessionBytes(config: ModelConfig, dtype: KvDtype, tokens: number): number {
  const room = Math.min(tokens, 2 * (keptTokens(config) ?? tokens));
  const brought = config.numHiddenLayers * (config.numAttentionHeads * config.headDim + 1); // and the 1 it is paired with
  const blocks = stridesOf(config)
    .filter((stride) => stride <= tokens)
    .reduce((sum, stride) => sum + Math.floor(tokens / stride) * kvValuesPerToken(config) + brought, 0);
  return room * kvBytesPerToken(config, dtype) + 4 * blocks;
}

function stridesOf({ attention }: ModelConfig): readonly number[] {
  return attention?.kind === 'multi-level' ? attention.strides : [];
}
