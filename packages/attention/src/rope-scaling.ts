import { refuseUnknownKeys } from '@therapeutic-moe/nn';

/** How positions past the trained length are mapped; `ropeFrequencies` holds the formulas. */
export type RopeScaling =
  | { readonly type: 'none' }
  | LinearScaling
  | NtkScaling
  | DynamicScaling
  | YarnScaling
  | Llama3Scaling
  | LongRopeScaling;

/** Every position divided by `factor` (Position Interpolation, arXiv:2306.15595). */
export interface LinearScaling {
  readonly type: 'linear';
  readonly factor: number;
}

/**
 * A larger base, `theta * factor^(headDim / (headDim - 2))`: fast pairs keep their angles, the slowest is divided by
 * `factor` (NTK-aware interpolation, arXiv:2309.00071, section 3.1).
 */
export interface NtkScaling {
  readonly type: 'ntk';
  readonly factor: number;
}

/**
 * NTK-aware interpolation that grows with the sequence: of length S past the original M, its factor is
 * `factor * S / M - (factor - 1)`; up to M nothing changes (arXiv:2309.00071, section 3.3).
 */
export interface DynamicScaling {
  readonly type: 'dynamic';
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
}

/**
 * YaRN (arXiv:2309.00071, section 3.4): pairs that turn more than `betaFast` times within the original length keep their
 * angles, those that turn less than `betaSlow` times are divided by `factor`, the others lie between; cosines and sines
 * grow by the attention factor.
 *
 * Implementations disagree; this is the third generation, that of current transformers (5.18): the original length is
 * given and `factor` is taken as it is. (The first placed the ramp by the stretched length; the second overrode `factor`
 * by the ratio of the two lengths.)
 */
export interface YarnScaling {
  readonly type: 'yarn';
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  /** Absent: 32. */
  readonly betaFast?: number;
  /** Absent: 1. */
  readonly betaSlow?: number;
  /** Factor on cosines and sines. Absent: `0.1 ln(factor) + 1`. */
  readonly attentionFactor?: number;
  /** With `mscaleAllDim`: the attention factor is `(0.1 mscale ln(factor) + 1) / (0.1 mscaleAllDim ln(factor) + 1)`. */
  readonly mscale?: number;
  /** With `mscale`. */
  readonly mscaleAllDim?: number;
  /** Whether the bounds of the ramp are rounded outwards to whole pairs. Absent: they are. */
  readonly truncate?: boolean;
}

/**
 * Llama 3.1 (arXiv:2407.21783): pairs whose wave is shorter than `original / highFreqFactor` keep their angles, longer
 * than `original / lowFreqFactor` are divided by `factor`, the others lie between.
 */
export interface Llama3Scaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
}

/**
 * LongRoPE (arXiv:2402.13753): a searched divisor for each pair, one list up to the original length and one past it;
 * cosines and sines grow by the attention factor.
 */
export interface LongRopeScaling {
  readonly type: 'longrope';
  /** The stretched length over the original one. */
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  /** `[headDim / 2]`. */
  readonly shortFactor: readonly number[];
  /** `[headDim / 2]`. */
  readonly longFactor: readonly number[];
  /** Factor on cosines and sines. Absent: `sqrt(1 + ln(factor) / ln(original))`. */
  readonly attentionFactor?: number;
}

const original = 'originalMaxPositionEmbeddings';

/** Fields of each type besides `type`. */
const fields: Readonly<Record<RopeScaling['type'], readonly string[]>> = {
  none: [],
  linear: ['factor'],
  ntk: ['factor'],
  dynamic: ['factor', original],
  yarn: ['factor', original, 'betaFast', 'betaSlow', 'attentionFactor', 'mscale', 'mscaleAllDim', 'truncate'],
  llama3: ['factor', original, 'lowFreqFactor', 'highFreqFactor'],
  longrope: ['factor', original, 'shortFactor', 'longFactor', 'attentionFactor'],
};

/** Checks a scaling for heads of `headDim` and returns it frozen. @throws Error naming field, value and way out. */
export function resolveRopeScaling(scaling: RopeScaling, headDim: number): RopeScaling {
  const known = Object.hasOwn(fields, scaling.type) ? fields[scaling.type] : undefined;
  if (!known) {
    const types = Object.keys(fields).join("', '");
    throw new Error(
      `rope: scaling.type must be one of '${types}', got '${String((scaling as { type: unknown }).type)}'.`,
    );
  }
  refuseUnknownKeys('rope: scaling', scaling, ['type', ...known]);
  if (known.includes('factor')) checkFactor(scaling as LinearScaling);
  if (known.includes(original)) checkOriginal(scaling as DynamicScaling);
  if (scaling.type === 'ntk' || scaling.type === 'dynamic') checkBaseChange(scaling.type, headDim);
  if (scaling.type === 'yarn') checkYarn(scaling);
  if (scaling.type === 'llama3') checkLlama3(scaling);
  if (scaling.type === 'longrope') return freezeLongRope(scaling, headDim);
  return Object.freeze({ ...scaling });
}

function checkFactor({ factor }: { readonly factor: number }): void {
  if (Number.isFinite(factor) && factor >= 1) return;
  throw new Error(`rope: scaling.factor must be 1 or more, got ${factor}; 4 stretches 2,048 positions to 8,192.`);
}

function checkOriginal(scaling: DynamicScaling | YarnScaling | Llama3Scaling | LongRopeScaling): void {
  const length = scaling[original];
  if (Number.isInteger(length) && length >= 1) return;
  throw new Error(
    `rope: scaling.${original} must be a whole number of 1 or more, got ${length}; ${scaling.type} needs the length before stretching.`,
  );
}

function checkBaseChange(type: string, headDim: number): void {
  if (headDim >= 4) return;
  throw new Error(
    `rope: ${type} scaling needs a headDim of 4 or more, got ${headDim}; one pair has no base to change.`,
  );
}

function checkYarn(scaling: YarnScaling): void {
  for (const field of ['betaFast', 'betaSlow', 'attentionFactor', 'mscale', 'mscaleAllDim'] as const)
    if (scaling[field] !== undefined) checkPositive(field, scaling[field]);
  const { betaFast = 32, betaSlow = 1, mscale, mscaleAllDim, truncate } = scaling;
  if (betaFast <= betaSlow)
    throw new Error(`rope: scaling.betaFast must be above betaSlow, got ${betaFast} and ${betaSlow}.`);
  if ((mscale === undefined) !== (mscaleAllDim === undefined)) {
    throw new Error(
      `rope: scaling.mscale and mscaleAllDim count together, got ${mscale} and ${mscaleAllDim}; set both or neither.`,
    );
  }
  if (truncate !== undefined && typeof truncate !== 'boolean')
    throw new Error(`rope: scaling.truncate must be true or false, got ${JSON.stringify(truncate)}.`);
}

function checkLlama3({ lowFreqFactor, highFreqFactor }: Llama3Scaling): void {
  checkPositive('lowFreqFactor', lowFreqFactor);
  checkPositive('highFreqFactor', highFreqFactor);
  if (highFreqFactor <= lowFreqFactor) {
    throw new Error(
      `rope: scaling.highFreqFactor must be above lowFreqFactor, got ${highFreqFactor} and ${lowFreqFactor}; Llama 3.1 has 4 and 1.`,
    );
  }
}

function freezeLongRope(scaling: LongRopeScaling, headDim: number): LongRopeScaling {
  const frozen = (field: 'shortFactor' | 'longFactor') => {
    const list = scaling[field];
    if (!Array.isArray(list) || list.length !== headDim / 2) {
      throw new Error(
        `rope: scaling.${field} must list headDim / 2 = ${headDim / 2} numbers, one per pair, got ${Array.isArray(list) ? list.length : list}.`,
      );
    }
    for (const [i, value] of list.entries()) checkPositive(`${field}[${i}]`, value);
    return Object.freeze([...list]);
  };
  const { attentionFactor } = scaling;
  if (attentionFactor !== undefined) checkPositive('attentionFactor', attentionFactor);
  else if (scaling[original] === 1)
    throw new Error(`rope: scaling.${original} is 1, whose logarithm is 0; set attentionFactor.`);
  return Object.freeze({ ...scaling, shortFactor: frozen('shortFactor'), longFactor: frozen('longFactor') });
}

function checkPositive(field: string, value: unknown): void {
  if (Number.isFinite(value) && (value as number) > 0) return;
  throw new Error(`rope: scaling.${field} must be a number above 0, got ${value}.`);
}
