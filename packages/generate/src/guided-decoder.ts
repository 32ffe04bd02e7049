import type { Decoder, DecoderSession, DecoderStep } from './decoder.js';

/** How {@link guidedDecoder} leans on the prompt. */
export interface GuidanceOptions {
  /** 1 is the plain model; above 1 the prompt weighs more. 1.5 to 2 is usual. At least 1. */
  readonly scale: number;
  /** What stands in for the prompt in the second, unconditional sequence: at least one token, such as the template's assistant marker. */
  readonly unconditionalIds: readonly number[];
}

/**
 * Classifier-free guidance for language models (Stay on topic, arXiv:2306.17806, eq. 7): every step also predicts the next token without the prompt, and
 * `log p = log p(without) + scale * (log p(with) - log p(without))`. Tokens that are likely only because of the prompt gain, so replies stay closer to
 * the question; it takes twice the computation. The first `append` of a session, and the first after a `reuse`, is taken as the prompt.
 *
 * @returns a decoder whose logits are log-probabilities up to a constant; `expertCounts` are those of the sequence with the prompt.
 * @throws when the scale is below 1 or there are no unconditional ids.
 */
export function guidedDecoder(decoder: Decoder, { scale, unconditionalIds }: GuidanceOptions): Decoder {
  if (!(scale >= 1 && Number.isFinite(scale))) {
    throw new Error(`guidedDecoder: scale must be a number of 1 or more, got ${scale}; 1 turns guidance off.`);
  }
  if (unconditionalIds.length === 0) throw new Error('guidedDecoder: unconditionalIds must hold at least one token.');
  return {
    vocabSize: decoder.vocabSize,
    maxPositions: decoder.maxPositions,
    createSession: () => guidedSession(decoder.createSession(), decoder.createSession(), scale, unconditionalIds),
  };
}

function guidedSession(
  conditional: DecoderSession,
  unconditional: DecoderSession,
  scale: number,
  unconditionalIds: readonly number[],
): DecoderSession {
  let isPrompt = true;
  const startAgain = () => unconditionalIds.slice(unconditional.reuse?.(unconditionalIds) ?? 0);
  return {
    get length() {
      return conditional.length;
    },
    get expertCounts() {
      return conditional.expertCounts;
    },
    ...(conditional.reuse && {
      reuse(ids: readonly number[]): number {
        isPrompt = true;
        return conditional.reuse!(ids);
      },
    }),
    async append(ids): Promise<DecoderStep> {
      const step = await conditional.append(ids);
      const { logits: without } = await unconditional.append(isPrompt ? startAgain() : ids);
      isPrompt = false;
      return { ...step, logits: lean(step.logits, without, scale) };
    },
    dispose() {
      conditional.dispose();
      unconditional.dispose();
    },
  };
}

function lean(withPrompt: Float32Array, without: Float32Array, scale: number): Float32Array {
  const shift = scale * logSumExp(withPrompt) + (1 - scale) * logSumExp(without);
  return withPrompt.map((logit, i) => scale * logit + (1 - scale) * without[i]! - shift);
}

function logSumExp(logits: Float32Array): number {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return top + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
}
