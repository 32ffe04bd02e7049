import { type RopeConfig, resolveRopeConfig } from '@therapeutic-moe/attention';
import type { ModelConfig } from './model-config.js';

/** The rotary settings of a model, checked; undefined where its positions are others. */
export function rotarySettings(
  config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling' | 'ropeInterleaved' | 'positions'>,
): RopeConfig | undefined {
  const { headDim, ropeTheta, ropeScaling, ropeInterleaved, positions } = config;
  if (positions) return undefined;
  const layout = ropeInterleaved === undefined ? {} : { interleaved: ropeInterleaved };
  return resolveRopeConfig({ headDim, theta: ropeTheta, scaling: ropeScaling, ...layout });
}

/** How a model comes to serve more positions: the way out of a refusal. */
export function morePositions({ positions, ropeScaling }: ModelConfig): string {
  if (positions) return 'raise maxPositionEmbeddings and train';
  return 'originalMaxPositionEmbeddings' in ropeScaling && ropeScaling.type !== 'dynamic'
    ? 'raise maxPositionEmbeddings and the factor of ropeScaling'
    : 'stretch ropeScaling';
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
