const longestWait = 400;

/**
 * Holds back streamed text until a sentence is complete, so that a safety check always sees whole sentences before a
 * reader does. A sentence ends at `.`, `!`, `?` or `…` (with closing quotes) followed by white space, at a line break,
 * or at the last space once 400 characters have come without an end.
 */
export class SentenceBuffer {
  #held = '';

  /** Adds text; returns what is complete now, possibly several sentences, or `''`. */
  push(text: string): string {
    this.#held += text;
    const end = lastSentenceEnd(this.#held);
    const released = this.#held.slice(0, end);
    this.#held = this.#held.slice(end);
    return released;
  }

  /** The rest, complete or not; the buffer is empty afterwards. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

function lastSentenceEnd(text: string): number {
  let end = 0;
  for (const match of text.matchAll(/[.!?…]+["'”’)\]]*\s+|\n+/g)) end = match.index + match[0].length;
  if (text.length - end <= longestWait) return end;
  const space = text.lastIndexOf(' ');
  return space > end ? space + 1 : text.length;
}
