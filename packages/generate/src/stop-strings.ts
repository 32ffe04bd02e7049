/** Text that may be passed on, and whether a stop string ended it. */
export interface StopResult {
  readonly text: string;
  readonly stopped: boolean;
}

/**
 * Watches text that arrives in pieces for stop strings. What could be the beginning of one is held back until the next
 * piece decides, so no part of a stop string is ever passed on, wherever the pieces are cut. The stop string that is
 * complete first ends the text; of two complete at once, the longer.
 */
export class StopStrings {
  private pending = '';

  /** @throws if a stop string is empty or not text. */
  constructor(private readonly stops: readonly string[]) {
    for (const [i, stop] of stops.entries()) {
      if (typeof stop !== 'string' || stop === '') {
        throw new Error(`generate: stop[${i}]: expected a text of one character or more, got ${JSON.stringify(stop)}.`);
      }
    }
  }

  /** @param text the next piece. */
  push(text: string): StopResult {
    this.pending += text;
    const start = this.findStop();
    const stopped = start !== undefined;
    const end = start ?? this.pending.length - this.undecided();
    const passed = this.pending.slice(0, end);
    this.pending = stopped ? '' : this.pending.slice(end);
    return { text: passed, stopped };
  }

  /** Ends the text. @returns what was held back: it did not become a stop string. */
  flush(): string {
    const text = this.pending;
    this.pending = '';
    return text;
  }

  /** Where the stop string begins that ends first. */
  private findStop(): number | undefined {
    let found: { start: number; end: number } | undefined;
    for (const stop of this.stops) {
      const start = this.pending.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (!found || end < found.end || (end === found.end && start < found.start)) found = { start, end };
    }
    return found?.start;
  }

  /** Length of the longest end of the pending text that begins a stop string. */
  private undecided(): number {
    let longest = 0;
    for (const stop of this.stops) {
      for (let length = Math.min(stop.length - 1, this.pending.length); length > longest; length--) {
        if (this.pending.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
