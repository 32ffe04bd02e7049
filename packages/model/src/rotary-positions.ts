import { type RopeConfig, resolveRopeConfig } from '@therapeutic-moe/attention';
import type { ModelConfig } from './model-config.js';

/** The rotary settings of a model, checked. */
export function rotarySettings({ headDim, ropeTheta, ropeScaling, ropeInterleaved }: ModelConfig): RopeConfig {
  const layout = ropeInterleaved === undefined ? {} : { interleaved: ropeInterleaved };
  return resolveRopeConfig({ headDim, theta: ropeTheta, scaling: ropeScaling, ...layout });
}

/** Positions a model serves; `maxPositionEmbeddings` says how they follow from the scaling. */
export function maxPositions({
  maxPositionEmbeddings,
  ropeScaling,
}: Pick<ModelConfig, 'maxPositionEmbeddings' | 'ropeScaling'>): number {
  switch (ropeScaling.type) {
    case 'linear':
    case 'ntk':
    case 'dynamic':
      return Math.floor(maxPositionEmbeddings * ropeScaling.factor);
    default:
      return maxPositionEmbeddings;
  }
}
