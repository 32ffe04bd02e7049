/** What a model answers after new tokens. */
export interface DecoderStep {
  /** `[vocab]`, scores for the token after the last one. The caller's to keep. */
  readonly logits: Float32Array;
  /** `[experts]`, visits summed over layers and the appended tokens. Empty for a dense model. */
  readonly expertCounts: Float32Array;
}

/** One conversation in a model: the tokens so far and their keys and values. */
export interface DecoderSession {
  /** Tokens appended so far. */
  readonly length: number;
  /** Runs the model over new tokens. */
  append(ids: readonly number[]): Promise<DecoderStep>;
  /**
   * Goes back to the longest beginning that it shares with `ids`, all but one of them at most, and says how many tokens
   * that is; the rest is to be appended. Absent: a session serves one text.
   */
  reuse?(ids: readonly number[]): number;
  /** `[experts]`, visits of the tokens so far, summed over layers; goes with `reuse`, whose tokens no `append` reports again. */
  readonly expertCounts?: Float32Array;
  /** Frees the session's memory. */
  dispose(): void;
}

/** What generation needs of a model. `model`'s CausalLm is one. */
export interface Decoder {
  /** Length of the logits. */
  readonly vocabSize: number;
  /** The most tokens a session holds. */
  readonly maxPositions: number;
  /** Starts an empty session; generation disposes it. See `KeptSessions` for sessions that outlast a text. */
  createSession(): DecoderSession;
}
