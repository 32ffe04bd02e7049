import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { requireObject } from './require-object.js';

const kinds = ['sinusoidal', 'learned', 'hybrid', 'alibi', 'none'] as const;

/** How a model knows where tokens stand when it does not rotate queries and keys. */
export interface PositionsConfig {
  /**
   * Added to the embeddings: `sinusoidal` waves, a `learned` table of `maxPositionEmbeddings`, or `hybrid`, a learned mix
   * of the two. In the scores: `alibi`, which takes off by distance. `none`: causality alone tells the order.
   */
  readonly kind: (typeof kinds)[number];
}

/** The settings of a model that positions must fit. */
interface PositionsContext {
  readonly hiddenSize: number;
  readonly ropeScaling: { readonly type: string };
  readonly ropeInterleaved?: boolean;
  readonly attention?: { readonly kind: string };
}

const where = 'model config: positions';

/** Checks positions and returns them frozen. @throws Error naming field, value and way out. */
export function resolvePositions(
  positions: PositionsConfig,
  { hiddenSize, ropeScaling, ropeInterleaved, attention }: PositionsContext,
): PositionsConfig {
  requireObject(positions, where);
  refuseUnknownKeys(where, positions, ['kind']);
  const { kind } = positions;
  if (!kinds.includes(kind)) {
    throw new Error(
      `${where}: kind must be one of ${kinds.join(', ')}, got '${String(kind)}'; leave positions out, or set null over a preset's, for rotary ones.`,
    );
  }
  const { type } = ropeScaling;
  if (type !== 'none' || ropeInterleaved) {
    const rotary = type === 'none' ? 'ropeInterleaved is true' : `ropeScaling is '${type}'`;
    throw new Error(
      `${where}: kind is '${kind}' but ${rotary}, which is of rotary positions; leave one of them out (null takes away a preset's positions).`,
    );
  }
  if (kind === 'alibi' && attention?.kind === 'multi-level') {
    throw new Error(
      `${where}: kind is 'alibi' but attention.kind is 'multi-level', whose blocks have no distance of their own; use other positions.`,
    );
  }
  if (hasWaves(positions) && hiddenSize % 2 !== 0) {
    throw new Error(
      `${where}: kind is '${kind}' but hiddenSize is ${hiddenSize}; it must be even, since every wave has a sine and a cosine.`,
    );
  }
  return Object.freeze({ kind });
}

/** Whether waves of size 1 are added to the embeddings. */
export function hasWaves(positions: PositionsConfig | undefined): boolean {
  return positions?.kind === 'sinusoidal' || positions?.kind === 'hybrid';
}

/** Whether positions count from the start of a row, so that a text is another one further back. */
export function isAbsolute(positions: PositionsConfig | undefined): boolean {
  return hasWaves(positions) || positions?.kind === 'learned';
}
