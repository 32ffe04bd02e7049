import {
  HybridEncoding,
  LearnedEncoding,
  type PositionalEncoding,
  SinusoidalEncoding,
} from '@therapeutic-moe/attention';
import type { ModelConfig } from './model-config.js';

/**
 * What adds positions to the embeddings, as the config describes it; nothing where positions come in attention.
 *
 * @param start of learned tables.
 */
export function createPositions(
  { positions, maxPositionEmbeddings, hiddenSize }: ModelConfig,
  start: { deviation: number; seed: number },
): PositionalEncoding | undefined {
  switch (positions?.kind) {
    case 'sinusoidal':
      return new SinusoidalEncoding(hiddenSize);
    case 'learned':
      return new LearnedEncoding(maxPositionEmbeddings, hiddenSize, start);
    case 'hybrid':
      return new HybridEncoding(maxPositionEmbeddings, hiddenSize, start);
    default:
      return undefined;
  }
}
