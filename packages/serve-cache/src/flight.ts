/** One load that several callers may wait for. */
export class Flight<T> {
  readonly #controller = new AbortController();
  readonly #result: Promise<T>;
  #waiting = 0;
  #settled = false;
  /** Set when what is being loaded must not be stored any more. */
  discarded = false;
  /** The write of the result, once it has begun. */
  writing: Promise<void> | undefined;

  /** @param load starts at once; its signal aborts when every waiter has gone. */
  constructor(
    readonly tenant: string,
    load: (flight: Flight<T>, signal: AbortSignal) => Promise<T>,
  ) {
    this.#result = load(this, this.#controller.signal);
    const settle = () => {
      this.#settled = true;
    };
    this.#result.then(settle, settle);
  }

  /** Whether nobody waits any more and the load was told to stop. */
  get abandoned(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Resolves when the load has ended, whichever way. */
  async settled(): Promise<void> {
    await this.#result.catch(() => undefined);
  }

  /** Waits for the result. An abort of `signal` rejects this waiter only; the last waiter to leave stops the load. */
  wait(signal?: AbortSignal): Promise<T> {
    this.#waiting++;
    return new Promise<T>((resolve, reject) => {
      const leave = () => {
        signal?.removeEventListener('abort', onAbort);
        this.#waiting--;
      };
      const onAbort = () => {
        leave();
        if (this.#waiting === 0 && !this.#settled) this.#controller.abort(signal?.reason);
        reject(signal?.reason);
      };
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#result.then(
        (value) => {
          leave();
          resolve(value);
        },
        (error) => {
          leave();
          reject(error);
        },
      );
    });
  }
}
