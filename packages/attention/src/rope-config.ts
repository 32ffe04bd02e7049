import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { type RopeScaling, resolveRopeScaling } from './rope-scaling.js';

/** Settings of rotary positions. */
export interface RopeConfig {
  /** Even. */
  readonly headDim: number;
  /** Base of the frequencies, 10000 in the paper. */
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Pairs are neighbours (GPT-J, DeepSeek-V3). Absent: Hugging Face's half-split layout. */
  readonly interleaved?: boolean;
}

/** Checks rotary settings and returns them frozen. @throws Error naming field, value and way out. */
export function resolveRopeConfig(config: RopeConfig): RopeConfig {
  refuseUnknownKeys('rope', config, ['headDim', 'theta', 'scaling', 'interleaved']);
  const { headDim, theta, scaling, interleaved } = config;
  if (!Number.isInteger(headDim) || headDim < 2 || headDim % 2 !== 0) {
    throw new Error(
      `rope: headDim must be an even whole number, got ${headDim}; rotary positions turn pairs of values.`,
    );
  }
  if (!(Number.isFinite(theta) && theta > 0)) throw new Error(`rope: theta must be above 0, got ${theta}.`);
  if (typeof scaling !== 'object' || scaling === null)
    throw new Error(
      `rope: scaling must be an object, got ${String(scaling)}; { type: 'none' } leaves angles as they are.`,
    );
  if (scaling.type === 'yarn' && theta <= 1)
    throw new Error(`rope: theta must be above 1 with yarn scaling, got ${theta}; pairs must turn ever slower.`);
  if (interleaved !== undefined && typeof interleaved !== 'boolean')
    throw new Error(`rope: interleaved must be true or false, got ${JSON.stringify(interleaved)}.`);
  const resolved = { headDim, theta, scaling: resolveRopeScaling(scaling, headDim) };
  return Object.freeze({ ...resolved, ...(interleaved && { interleaved }) });
}
