import { type RopeConfig, resolveRopeConfig } from './rope-config.js';
import type { DynamicScaling, Llama3Scaling, LongRopeScaling, YarnScaling } from './rope-scaling.js';

/** How fast pairs of a head turn, and how long they are made. */
export interface RopeFrequencies {
  /** `[headDim / 2]`: radians per position. */
  readonly frequencies: Float64Array;
  /** Factor on cosines and sines; attention scores get its square. */
  readonly attentionFactor: number;
}

/**
 * The angles per position of a scaling: pair i of the unscaled form turns by `theta^(-2 i / headDim)`.
 *
 * @param length of the sequence so far, its newest token included; only `dynamic` and `longrope` look at it.
 * @throws as `resolveRopeConfig`.
 */
export function ropeFrequencies(config: RopeConfig, length: number): RopeFrequencies {
  const { headDim, theta, scaling } = resolveRopeConfig(config);
  const pairs = headDim / 2;
  const of = (base: number, divisor: (i: number) => number = () => 1, attentionFactor = 1) => ({
    frequencies: Float64Array.from({ length: pairs }, (_, i) => base ** (-i / pairs) / divisor(i)),
    attentionFactor,
  });
  const largerBase = (factor: number) => theta * factor ** (headDim / (headDim - 2));
  switch (scaling.type) {
    case 'none':
      return of(theta);
    case 'linear':
      return of(theta, () => scaling.factor);
    case 'ntk':
      return of(largerBase(scaling.factor));
    case 'dynamic':
      return of(largerBase(dynamicFactor(scaling, length)));
    case 'yarn':
      return of(theta, yarnDivisor(scaling, headDim, theta), yarnAttentionFactor(scaling));
    case 'llama3':
      return of(theta, (i) => llama3Divisor(scaling, 2 * Math.PI * theta ** (i / pairs)));
    case 'longrope': {
      const divisors = isLong(scaling, length) ? scaling.longFactor : scaling.shortFactor;
      return of(theta, (i) => divisors[i]!, longRopeAttentionFactor(scaling));
    }
  }
}

/**
 * Whether a sequence that has grown from one length to another turns all its pairs as before. Where not, keys, values
 * and hidden states that were computed at the old length are not those of the new one.
 */
export function ropeStays({ scaling }: RopeConfig, from: number, to: number): boolean {
  if (scaling.type === 'dynamic') return dynamicFactor(scaling, from) === dynamicFactor(scaling, to);
  if (scaling.type === 'longrope') return isLong(scaling, from) === isLong(scaling, to);
  return true;
}

function dynamicFactor({ factor, originalMaxPositionEmbeddings }: DynamicScaling, length: number): number {
  const stretch = Math.max(1, length / originalMaxPositionEmbeddings);
  return factor * stretch - (factor - 1);
}

function isLong({ originalMaxPositionEmbeddings }: LongRopeScaling, length: number): boolean {
  return length > originalMaxPositionEmbeddings;
}

function longRopeAttentionFactor(scaling: LongRopeScaling): number {
  const { factor, originalMaxPositionEmbeddings, attentionFactor } = scaling;
  return attentionFactor ?? Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositionEmbeddings));
}

/** Between 1 for pairs that turn often and `factor` for those that hardly do; frequencies mix, not wavelengths. */
function yarnDivisor(scaling: YarnScaling, headDim: number, theta: number): (i: number) => number {
  const { factor, originalMaxPositionEmbeddings, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  const pairThatTurns = (times: number) =>
    (headDim * Math.log(originalMaxPositionEmbeddings / (times * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [pairThatTurns(betaFast), pairThatTurns(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, headDim - 1);
  const width = high === low ? 0.001 : high - low; // transformers' way around a division by 0
  return (i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / width));
    return 1 / (ramp / factor + 1 - ramp);
  };
}

function yarnAttentionFactor({ factor, attentionFactor, mscale, mscaleAllDim }: YarnScaling): number {
  const grown = (by: number) => 0.1 * by * Math.log(factor) + 1;
  if (attentionFactor !== undefined) return attentionFactor;
  return mscale && mscaleAllDim ? grown(mscale) / grown(mscaleAllDim) : grown(1);
}

function llama3Divisor(scaling: Llama3Scaling, wavelength: number): number {
  const { factor, originalMaxPositionEmbeddings, lowFreqFactor, highFreqFactor } = scaling;
  const waves = originalMaxPositionEmbeddings / wavelength;
  if (waves > highFreqFactor) return 1;
  if (waves < lowFreqFactor) return factor;
  const share = (waves - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return 1 / ((1 - share) / factor + share);
}
