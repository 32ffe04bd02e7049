import { ApiError } from './api-error.js';

/** How many replies are made at once and how many requests may wait. */
export interface AdmissionOptions {
  /** Replies made at the same time. Default 1: one set of weights on one machine answers fastest one by one. */
  concurrency?: number;
  /** Requests that may wait; one more gets 429. Default 16. */
  maxWaiting?: number;
}

interface Waiter {
  admit: () => void;
}

/**
 * Lets a bounded number of replies run, keeps a bounded line of waiting requests in order of arrival, and refuses the
 * rest at once, so that an overloaded server says so instead of growing slow for everyone.
 */
export class AdmissionQueue {
  readonly concurrency: number;
  readonly maxWaiting: number;
  #running = 0;
  #waiters: Waiter[] = [];
  #averageSeconds = 5;

  /** @throws Error when a limit is not a whole number in range. */
  constructor(options: AdmissionOptions = {}) {
    this.concurrency = wholeNumber('concurrency', options.concurrency ?? 1, 1);
    this.maxWaiting = wholeNumber('maxWaiting', options.maxWaiting ?? 16, 0);
  }

  /** Replies being made now. */
  get running(): number {
    return this.#running;
  }

  /** Requests waiting now. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Waits for a place. The caller must call the returned function exactly when its reply has ended, however it ended.
   *
   * @throws ApiError 429 with Retry-After when the line is full; the signal's reason when it aborts while waiting.
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#running >= this.concurrency) {
      if (this.#waiters.length >= this.maxWaiting) throw this.#full();
      await this.#wait(signal); // the one who leaves hands its place over, so `running` already counts us
    } else {
      this.#running++;
    }
    const start = performance.now();
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#averageSeconds = 0.8 * this.#averageSeconds + 0.2 * ((performance.now() - start) / 1000);
      const next = this.#waiters.shift();
      if (next === undefined) this.#running--;
      else next.admit();
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leaveTheLine = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        admit: () => {
          signal.removeEventListener('abort', leaveTheLine);
          resolve();
        },
      };
      this.#waiters.push(waiter);
      signal.addEventListener('abort', leaveTheLine, { once: true });
    });
  }

  #full(): ApiError {
    const seconds = Math.max(1, Math.ceil((this.#averageSeconds * (this.#waiters.length + 1)) / this.concurrency));
    return new ApiError(
      429,
      `The server makes ${this.concurrency} ${this.concurrency === 1 ? 'reply' : 'replies'} at a time and ${this.#waiters.length} requests are waiting already; try again in about ${seconds} s.`,
      { code: 'queue_full', headers: { 'retry-after': String(seconds) } },
    );
  }
}

function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least) return value;
  throw new Error(`AdmissionQueue: ${name} must be a whole number of at least ${least}, got ${value}.`);
}
