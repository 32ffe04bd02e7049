import type { Decoder, DecoderSession, DecoderStep } from './decoder.js';

/** A session at rest, and the last prompt that it has read. */
interface KeptSession {
  readonly session: DecoderSession;
  readonly promptIds: readonly number[];
}

/**
 * A decoder that keeps the sessions of the last texts, so that a prompt which goes on from one of them, prompt and reply,
 * computes only what is new (as llama.cpp's `cache_prompt` does). Two texts at the same time never share a session: one
 * is lent to a single text and taken back when that ends; another text gets its own. It is kept unless a pass failed,
 * and goes on only to a prompt that begins with its whole last prompt, so that nobody finds out by timing, word by word,
 * what another one asked. Sessions in use and kept ones are together at most `most`, or as many as are in use.
 */
export class KeptSessions implements Decoder {
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** The last used at the end. */
  readonly #kept: KeptSession[] = [];
  #most: number;
  #inUse = 0;

  /**
   * @param decoder the model; its sessions are kept where they have `reuse`.
   * @param most sessions that are kept; 0 keeps none. Default 1.
   * @throws when `most` is no whole number of 0 or more.
   */
  constructor(
    private readonly decoder: Decoder,
    most = 1,
  ) {
    if (!(Number.isInteger(most) && most >= 0))
      throw new Error(`KeptSessions: most must be a whole number of 0 or more, got ${most}; 0 keeps none.`);
    this.vocabSize = decoder.vocabSize;
    this.maxPositions = decoder.maxPositions;
    this.#most = most;
  }

  /** A session that takes over a kept one when it is asked to `reuse` a prompt; its `dispose` gives it back. */
  createSession(): DecoderSession {
    return new LentSession(
      (promptIds) => this.#lend(promptIds),
      (session, promptIds) => this.#takeBack(session, promptIds),
    );
  }

  /** Frees the kept sessions; those in use are freed as their texts end. */
  dispose(): void {
    this.#most = 0;
    this.#makeRoom();
  }

  #lend(promptIds: readonly number[] = []): DecoderSession {
    const fits = this.#kept.findLastIndex((kept) => kept.promptIds.every((id, i) => id === promptIds[i]));
    const session = fits < 0 ? this.decoder.createSession() : this.#kept.splice(fits, 1)[0]!.session;
    this.#inUse++;
    this.#makeRoom();
    return session;
  }

  #takeBack(session: DecoderSession, promptIds: readonly number[] | undefined): void {
    this.#inUse--;
    if (promptIds && session.reuse) this.#kept.push({ session, promptIds });
    else session.dispose();
    this.#makeRoom();
  }

  #makeRoom(): void {
    const surplus = this.#kept.length + this.#inUse - this.#most;
    for (const { session } of this.#kept.splice(0, Math.max(0, surplus))) session.dispose();
  }
}

/** A kept session, or a new one, while one text is written. */
class LentSession implements DecoderSession {
  #session: DecoderSession | undefined;
  /** Absent: not known yet, or a pass is running or has failed, and then the session is not kept. */
  #promptIds: readonly number[] | undefined;

  constructor(
    private readonly lend: (promptIds?: readonly number[]) => DecoderSession,
    private readonly giveBack: (session: DecoderSession, promptIds: readonly number[] | undefined) => void,
  ) {}

  get length(): number {
    return this.#session?.length ?? 0;
  }

  get expertCounts(): Float32Array | undefined {
    return this.#session?.expertCounts;
  }

  reuse(ids: readonly number[]): number {
    this.#session ??= this.lend(ids);
    const kept = this.#session.reuse?.(ids) ?? 0;
    this.#promptIds = ids;
    return kept;
  }

  async append(ids: readonly number[]): Promise<DecoderStep> {
    this.#session ??= this.lend();
    const promptIds = this.#promptIds;
    this.#promptIds = undefined;
    const step = await this.#session.append(ids);
    this.#promptIds = promptIds;
    return step;
  }

  dispose(): void {
    if (this.#session) this.giveBack(this.#session, this.#promptIds);
    this.#session = undefined;
  }
}
