import type { ModelConfig } from './model-config.js';

/** Positions that a model serves: those it was trained on, times the factor of linear position interpolation. */
export function maxPositions({ maxPositionEmbeddings, ropeScaling }: ModelConfig): number {
  return Math.floor(maxPositionEmbeddings * (ropeScaling.type === 'linear' ? ropeScaling.factor : 1));
}
