import type { Tokenizer } from './tokenizer.js';

/**
 * Turns token ids into text as they arrive. A character whose bytes span several tokens is held back until it is
 * whole, so the pieces joined are the text that {@link Tokenizer.decode} gives for all ids at once.
 */
export class StreamDecoder {
  private readonly text = new TextDecoder('utf-8', { ignoreBOM: true });

  /** @param skipSpecialTokens leave special tokens out of the text. Default true. */
  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly skipSpecialTokens = true,
  ) {}

  /**
   * @param id the next token.
   * @returns the characters it completes, often none.
   * @throws if the vocabulary has no such id.
   */
  push(id: number): string {
    const bytes = this.tokenizer.tokenBytes(id);
    if (!this.tokenizer.isAdded(id)) return this.text.decode(bytes, { stream: true });
    if (this.skipSpecialTokens && this.tokenizer.isSpecial(id)) return '';
    // An added token stands for itself: bytes before it that make no character are not completed by it.
    return this.text.decode() + new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  }

  /** Ends the stream. @returns U+FFFD if bytes of an unfinished character were held back, else nothing. */
  flush(): string {
    return this.text.decode();
  }
}
