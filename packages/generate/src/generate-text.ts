import type { Decoder } from './decoder.js';
import { type FinishReason, type StartedGeneration, withGeneration } from './generate-tokens.js';
import type { Sampling } from './sampling.js';
import { StopStrings } from './stop-strings.js';

/** Turns ids into text as they come, whole characters only. `tokenizer`'s StreamDecoder is one. */
export interface TextStream {
  /** The characters that this token completes. */
  push(id: number): string;
  /** What is left at the end. */
  flush(): string;
}

/** {@link Sampling}, and texts that end the answer. */
export interface TextSampling extends Sampling {
  /** The text ends before the first of these, even where it spans tokens. Default none. */
  readonly stop?: readonly string[];
}

/** What {@link generateText} returns when it is done. */
export interface GeneratedText {
  /** All pieces joined. */
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly usage: {
    readonly promptTokens: number;
    /** Tokens generated, a stop token not counted. */
    readonly completionTokens: number;
  };
  /** `[experts]`, visits of the generated tokens, summed over layers. */
  readonly expertCounts: Float32Array;
  /** `[experts]`, visits of the prompt's tokens, summed over layers. */
  readonly promptExpertCounts: Float32Array;
  /** The seed that gives the same text again. */
  readonly seed: number;
}

async function* toText(
  { tokens, promptExpertCounts, seed }: StartedGeneration,
  stream: TextStream,
  stops: StopStrings,
  promptTokens: number,
): AsyncGenerator<string, GeneratedText> {
  const expertCounts = new Float32Array(promptExpertCounts.length);
  let completionTokens = 0;
  let all = '';
  let finishReason: FinishReason | undefined;
  while (finishReason === undefined) {
    const next = await tokens.next();
    let piece: { text: string; stopped: boolean };
    if (next.done) {
      finishReason = next.value;
      piece = stops.push(stream.flush());
      if (!piece.stopped) piece = { text: piece.text + stops.flush(), stopped: false };
    } else {
      completionTokens++;
      next.value.expertCounts.forEach((visits, expert) => {
        expertCounts[expert] += visits;
      });
      piece = stops.push(stream.push(next.value.id));
    }
    if (piece.stopped) finishReason = 'stop';
    all += piece.text;
    if (piece.text !== '') yield piece.text;
  }
  return { text: all, finishReason, usage: { promptTokens, completionTokens }, expertCounts, promptExpertCounts, seed };
}

/**
 * Generates text piece by piece. A piece never ends inside a character and never holds a part of a stop string. The
 * model's session is disposed as in {@link generateTokens}.
 *
 * @param decoder the model.
 * @param stream a fresh stream of the model's tokenizer.
 * @param promptIds the tokens to continue, at least one.
 * @param sampling how to choose, and when to stop.
 * @param signal aborts between two model calls; the generator then throws the signal's reason.
 * @returns yields text, never empty; then the whole text, usage and the experts' visits.
 * @throws as {@link generateTokens}, or if a stop string is empty.
 */
export async function* generateText(
  decoder: Decoder,
  stream: TextStream,
  promptIds: readonly number[],
  { stop = [], ...sampling }: TextSampling = {},
  signal?: AbortSignal,
): AsyncGenerator<string, GeneratedText> {
  const stops = new StopStrings(stop);
  return yield* withGeneration(decoder, promptIds, sampling, signal, (started) =>
    toText(started, stream, stops, promptIds.length),
  );
}
