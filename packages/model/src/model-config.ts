import type { RopeScaling } from '@therapeutic-moe/attention';
import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { type AttentionKind, type PartialAttentionKind, resolveAttentionKind } from './attention-config.js';
import { type MixtureConfig, type PartialMixtureConfig, resolveMixture } from './mixture-config.js';
import { type PositionsConfig, resolvePositions } from './positions-config.js';
import { requireObject } from './require-object.js';
import { rotarySettings } from './rotary-positions.js';

/** A causal decoder, under Hugging Face's names in camelCase. */
export interface ModelConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Inner width of the dense feed-forward, and of each expert unless `mixture.moeIntermediateSize` names another. */
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  /** Size of one head; need not be `hiddenSize / numAttentionHeads`. */
  readonly headDim: number;
  /**
   * Hugging Face's `max_position_embeddings`. Without scaling, the positions it was trained on and serves. With `linear`,
   * `ntk` and `dynamic` scaling, the positions it was trained on; it serves `factor` times as many. With `yarn`, `llama3`
   * and `longrope`, which name the length before stretching themselves, the positions it serves.
   */
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** Rotated pairs are neighbours (GPT-J, DeepSeek-V3). Absent: Hugging Face's half-split layout. */
  readonly ropeInterleaved?: boolean;
  /** q, k and v have biases (Qwen2). Absent: none has. */
  readonly qkvBias?: boolean;
  /** Most tokens that a token sees, itself included. Absent: all before it. */
  readonly slidingWindow?: number;
  /** The output head is the embedding transposed. */
  readonly tieWordEmbeddings: boolean;
  /**
   * Standard deviation of fresh weights; layers that write to the residual stream get it divided by `sqrt(2 * layers)`.
   */
  readonly initializerRange: number;
  /** Absent: plain. */
  readonly attention?: AttentionKind;
  /** Absent: rotary, by `ropeTheta` and `ropeScaling`. */
  readonly positions?: PositionsConfig;
  readonly mixture?: MixtureConfig;
  readonly bosTokenId?: number;
  /** What ends a text: one token, or any of some. */
  readonly eosTokenId?: number | readonly number[];
}

const counts = [
  'vocabSize',
  'hiddenSize',
  'intermediateSize',
  'numHiddenLayers',
  'numAttentionHeads',
  'numKeyValueHeads',
  'maxPositionEmbeddings',
] as const;

const known = [
  ...counts,
  'headDim',
  'rmsNormEps',
  'ropeTheta',
  'ropeScaling',
  'ropeInterleaved',
  'qkvBias',
  'slidingWindow',
  'tieWordEmbeddings',
  'initializerRange',
  'attention',
  'positions',
  'mixture',
  'bosTokenId',
  'eosTokenId',
];

/** Fields without a default. */
type RequiredField = 'vocabSize' | 'hiddenSize' | 'intermediateSize' | 'numHiddenLayers' | 'numAttentionHeads';

/** Any fields of a config, its attention and mixture as they are given. */
export type ConfigOverrides = Partial<Omit<ModelConfig, 'attention' | 'positions' | 'mixture'>> & {
  /** null: plain, whatever a preset has. */
  readonly attention?: PartialAttentionKind | null;
  /** null: rotary, whatever a preset has. */
  readonly positions?: PositionsConfig | null;
  readonly mixture?: PartialMixtureConfig;
};

/** A config as given: what has a default may be left out. */
export type PartialConfig = Pick<ModelConfig, RequiredField> & ConfigOverrides;

/**
 * Fills in defaults, checks everything and freezes.
 *
 * @throws Error naming field, value and way out; unknown keys are refused by name.
 */
export function resolveConfig(partial: PartialConfig): ModelConfig {
  refuseUnknownKeys('model config', partial, known);
  const { attention: kind, positions: encoding, mixture, ...given } = partial;
  const [attention, positions] = [kind ?? undefined, encoding ?? undefined];
  const config: ModelConfig = {
    numKeyValueHeads: partial.numAttentionHeads,
    headDim: partial.hiddenSize / partial.numAttentionHeads,
    maxPositionEmbeddings: 2048,
    rmsNormEps: 1e-5,
    ropeTheta: 10_000,
    ropeScaling: { type: 'none' },
    tieWordEmbeddings: false,
    initializerRange: 0.02,
    ...withoutUndefined(given),
  };
  for (const field of counts) {
    const value = config[field];
    if (!Number.isInteger(value) || value < 1) {
      throw new Error(`model config: ${field} must be a whole number of 1 or more, got ${String(value)}.`);
    }
    refuseUnsafe(field, value);
  }
  refuseUnsafe('headDim', config.headDim);
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw new Error(
      `model config: numKeyValueHeads is ${numKeyValueHeads} but numAttentionHeads is ${numAttentionHeads}; it must divide it.`,
    );
  }
  if (!Number.isInteger(headDim) && headDim === hiddenSize / numAttentionHeads) {
    throw new Error(
      `model config: hiddenSize ${hiddenSize} does not divide by numAttentionHeads ${numAttentionHeads}; set headDim.`,
    );
  }
  if (!Number.isInteger(headDim) || headDim < 1)
    throw new Error(`model config: headDim must be a whole number of 1 or more, got ${String(headDim)}.`);
  for (const field of ['rmsNormEps', 'initializerRange'] as const) {
    const value = config[field];
    if (!(Number.isFinite(value) && value > 0)) {
      throw new Error(`model config: ${field} must be a number above 0, got ${String(value)}.`);
    }
  }
  for (const [field, value] of [
    ['tieWordEmbeddings', config.tieWordEmbeddings],
    ['qkvBias', config.qkvBias ?? false],
  ] as const) {
    if (typeof value !== 'boolean')
      throw new Error(`model config: ${field} must be true or false, got ${JSON.stringify(value)}.`);
  }
  requireObject(config.ropeScaling, 'model config: ropeScaling');
  const others =
    positions === undefined ? undefined : resolvePositions(positions, { ...config, ...(attention && { attention }) });
  const rope = rotarySettings({ ...config, ...(others && { positions: others }) });
  checkWindow(config.slidingWindow);
  for (const field of ['bosTokenId', 'eosTokenId'] as const) {
    const ids = [config[field] ?? []].flat();
    const bad = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < config.vocabSize));
    if (bad !== undefined)
      throw new Error(`model config: ${field} is ${bad}, outside the vocabulary of ${config.vocabSize}.`);
  }
  return Object.freeze({
    ...config,
    ropeScaling: rope?.scaling ?? Object.freeze({ type: 'none' }),
    ...(attention === undefined ? {} : { attention: resolveAttentionKind(attention, config) }),
    ...(others && { positions: others }),
    ...(mixture ? { mixture: checkMixture(mixture, config) } : {}),
  });
}

function checkMixture(mixture: PartialMixtureConfig, sizes: ModelConfig): MixtureConfig {
  const resolved = resolveMixture(mixture, sizes);
  refuseUnsafe('mixture.numExperts', resolved.numExperts);
  return resolved;
}

function checkWindow(window: number | undefined): void {
  if (window === undefined || (Number.isInteger(window) && window >= 1)) return;
  throw new Error(
    `model config: slidingWindow must be a whole number of 1 or more, got ${window}; leave it out for none.`,
  );
}

/** Above 2^53 - 1 a float64 skips whole numbers, so that sizes computed from it would be wrong. */
function refuseUnsafe(field: string, value: number): void {
  if (Number.isInteger(value) && value > Number.MAX_SAFE_INTEGER)
    throw new Error(`model config: ${field} is ${value}, above the largest exact whole number, 2^53 - 1.`);
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}
