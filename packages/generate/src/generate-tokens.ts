import type { Decoder, DecoderSession, DecoderStep } from './decoder.js';
import { seededUniform } from './random.js';
import { sampleToken } from './sample-token.js';
import { type ResolvedSampling, resolveSampling, type Sampling } from './sampling.js';

/** Why a text ended: a stop token or stop string, or no room for more tokens. */
export type FinishReason = 'stop' | 'length';

/** One generated token. */
export interface GeneratedToken {
  readonly id: number;
  /** `[experts]`, visits of this token, summed over layers. Zeros for a token that ended the text by its length. */
  readonly expertCounts: Float32Array;
}

/** What {@link generateTokens} returns when it is done. */
export interface TokensSummary {
  readonly finishReason: FinishReason;
  /** `[experts]`, visits of the prompt's tokens, summed over layers. */
  readonly promptExpertCounts: Float32Array;
  /** The seed that gives the same tokens again. */
  readonly seed: number;
}

/** Lets sockets, timers and aborts be served: a model that computes synchronously never would. */
function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}

/** @throws if there is no prompt, it is too long, or it holds an id the model does not know. */
function checkPrompt(promptIds: readonly number[], { vocabSize, maxPositions }: Decoder): void {
  if (promptIds.length === 0) {
    throw new Error(
      "generate: promptIds: expected at least one token, got none; start with the tokenizer's bos token.",
    );
  }
  if (promptIds.length > maxPositions) {
    throw new Error(
      `generate: promptIds: expected at most ${maxPositions} tokens, the positions of this model, got ${promptIds.length}; shorten the conversation by ${promptIds.length - maxPositions} tokens, its oldest turns first.`,
    );
  }
  const unknown = promptIds.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (unknown >= 0) {
    throw new Error(
      `generate: promptIds[${unknown}]: expected an id from 0 to ${vocabSize - 1}, got ${promptIds[unknown]}; was it made by another model's tokenizer?`,
    );
  }
}

async function appendChecked(
  session: DecoderSession,
  ids: readonly number[],
  vocabSize: number,
  signal?: AbortSignal,
): Promise<DecoderStep> {
  signal?.throwIfAborted();
  const step = await session.append(ids);
  await yieldToEventLoop();
  signal?.throwIfAborted();
  if (step.logits.length !== vocabSize) {
    throw new Error(`generate: logits: expected [${vocabSize}] from the model, got [${step.logits.length}].`);
  }
  return step;
}

/** The tokens after the prompt. The session is the caller's. */
async function* continuePrompt(
  decoder: Decoder,
  session: DecoderSession,
  promptIds: readonly number[],
  prompt: DecoderStep,
  sampling: ResolvedSampling,
  signal?: AbortSignal,
): AsyncGenerator<GeneratedToken, FinishReason> {
  const random = seededUniform(sampling.seed);
  const seen = new Set(promptIds);
  // The last token needs no position of its own: nothing is predicted from it.
  const room = Math.min(sampling.maxTokens, decoder.maxPositions - promptIds.length + 1);
  let { logits } = prompt;
  for (let count = 1; ; count++) {
    const id = sampleToken(logits, seen, sampling, random);
    if (sampling.stopTokens.includes(id)) return 'stop';
    if (count >= room) {
      yield { id, expertCounts: new Float32Array(prompt.expertCounts.length) };
      return 'length';
    }
    seen.add(id);
    const step = await appendChecked(session, [id], decoder.vocabSize, signal);
    yield { id, expertCounts: step.expertCounts };
    logits = step.logits;
  }
}

/** A prompt that the model has read, and the tokens it continues with. */
export interface StartedGeneration {
  readonly promptExpertCounts: Float32Array;
  readonly seed: number;
  readonly tokens: AsyncGenerator<GeneratedToken, FinishReason>;
}

/**
 * Checks everything, reads the prompt, and hands the rest to `use`. The session lives as long as `use` and is disposed
 * in every case: end, error, abort, or a consumer that leaves.
 */
export async function* withGeneration<T, R>(
  decoder: Decoder,
  promptIds: readonly number[],
  sampling: Sampling,
  signal: AbortSignal | undefined,
  use: (started: StartedGeneration) => AsyncGenerator<T, R>,
): AsyncGenerator<T, R> {
  const resolved = resolveSampling(sampling, decoder.vocabSize);
  checkPrompt(promptIds, decoder);
  signal?.throwIfAborted();
  const session = decoder.createSession();
  try {
    const kept = session.reuse?.(promptIds) ?? 0;
    const prompt = await appendChecked(session, promptIds.slice(kept), decoder.vocabSize, signal);
    return yield* use({
      promptExpertCounts: session.expertCounts ?? prompt.expertCounts,
      seed: resolved.seed,
      tokens: continuePrompt(decoder, session, promptIds, prompt, resolved, signal),
    });
  } finally {
    session.dispose();
  }
}

/**
 * Generates tokens one by one. The model's session is made here and disposed when the generator ends, throws, is
 * aborted, or is left by its consumer.
 *
 * @param decoder the model.
 * @param promptIds the tokens to continue, at least one.
 * @param sampling how to choose, and when to stop.
 * @param signal aborts between two model calls; the generator then throws the signal's reason.
 * @returns yields tokens, stop tokens excluded; then says why it ended.
 * @throws if a setting is impossible, the prompt is empty, too long or has unknown ids, or a logit is NaN.
 */
export async function* generateTokens(
  decoder: Decoder,
  promptIds: readonly number[],
  sampling: Sampling = {},
  signal?: AbortSignal,
): AsyncGenerator<GeneratedToken, TokensSummary> {
  return yield* withGeneration(decoder, promptIds, sampling, signal, async function* ({ tokens, ...summary }) {
    const finishReason = yield* tokens;
    return { finishReason, ...summary };
  });
}
