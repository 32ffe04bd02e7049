import type { Decoder, DecoderSession } from '../src/decoder.js';

/** A decoder whose next token depends on the tokens so far, and which counts its sessions. */
export class FakeDecoder implements Decoder {
  /** Sessions made and not yet disposed. */
  open = 0;
  /** Calls of append, over all sessions. */
  calls = 0;
  /** How many tokens each call of append brought. */
  readonly reads: number[] = [];

  /** @param next logits `[vocab]` for the tokens so far. */
  constructor(
    readonly vocabSize: number,
    readonly maxPositions: number,
    private readonly next: (ids: readonly number[]) => Float32Array,
  ) {}

  /** A decoder that says `script` after the prompt, then repeats its last token. */
  static saying(vocabSize: number, promptLength: number, script: readonly number[], maxPositions = 97): FakeDecoder {
    return new FakeDecoder(vocabSize, maxPositions, (ids) => {
      const logits = new Float32Array(vocabSize);
      logits[script[Math.min(ids.length - promptLength, script.length - 1)]] = 30;
      return logits;
    });
  }

  createSession(): DecoderSession {
    const ids: number[] = [];
    let disposed = false;
    this.open++;
    // Expert 0 sees every token, expert 1 the even ids, expert 2 nothing.
    const visits = (of: readonly number[]) => Float32Array.of(of.length, of.filter((id) => id % 2 === 0).length, 0);
    return {
      get length() {
        return ids.length;
      },
      get expertCounts() {
        return visits(ids);
      },
      reuse: (wanted) => {
        if (disposed) throw new Error('reuse after dispose');
        const differs = wanted.findIndex((id, i) => id !== ids[i]);
        ids.length = Math.min(differs < 0 ? ids.length : differs, wanted.length - 1);
        return ids.length;
      },
      append: async (added) => {
        if (disposed) throw new Error('append after dispose');
        this.calls++;
        this.reads.push(added.length);
        ids.push(...added);
        if (ids.length > this.maxPositions) throw new Error('positions exceeded');
        return { logits: this.next(ids), expertCounts: visits(added) };
      },
      dispose: () => {
        if (disposed) throw new Error('disposed twice');
        disposed = true;
        this.open--;
      },
    };
  }
}

/** Runs a generator to its end. */
export async function collect<T, R>(generator: AsyncGenerator<T, R>): Promise<{ items: T[]; result: R }> {
  const items: T[] = [];
  for (;;) {
    const next = await generator.next();
    if (next.done) return { items, result: next.value };
    items.push(next.value);
  }
}
