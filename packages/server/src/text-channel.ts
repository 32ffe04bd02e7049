/** Text handed from a task that writes to a reader that comes later: pushes never wait, reads do. */
export class TextChannel implements AsyncIterable<string> {
  #pieces: string[] = [];
  #closed = false;
  #wake: () => void = () => {};

  /** Adds text; ignored after `close`. */
  push(text: string): void {
    if (!this.#closed) this.#pieces.push(text);
    this.#wake();
  }

  /** Ends the reading once everything pushed has been read. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) yield piece;
      else if (this.#closed) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
