import type { Worker } from 'node:worker_threads';
import type { KernelModule } from './heap.js';
import { workerSource } from './worker-source.js';

/** Stands in a call for the working memory of whichever thread takes the call. */
export const SCRATCH = Number.NEGATIVE_INFINITY;

/** A kernel by name with its arguments. */
export type KernelCall = readonly [kernel: keyof KernelModule, ...args: number[]];

/** Working memory of all threads: thread `i` has `stride` bytes from `at + i * stride`. */
export interface ThreadScratch {
  readonly at: number;
  readonly stride: number;
}

// `control`, int32: the first three only grow (and wrap), so a worker that wakes late cannot mistake one list for
// another.
const TAKEN = 0; // calls that a thread has taken
const ISSUED = 1; // calls that may be taken
const DONE = 2; // calls that have returned
const FAILED = 3; // 1 after a call threw
const SCRATCH_AT = 4;
const SCRATCH_STRIDE = 5;

// `calls`, float64: a ring of rows, each a kernel's number, how many arguments, and these.
const SLOTS = 1024;
const WIDTH = 24;

/** Looks at the counter before a worker sleeps, some 50 microseconds: the pause between two kernels of a model. */
const WORKER_SPINS = 2000;
/** Looks at the counter before this thread gives its core away, which a worker on a busy machine may need. */
const OWN_SPINS = 20_000;

/** Worker threads that share the heap's memory and help with lists of kernel calls. */
export class Threads {
  private readonly numberOf: Map<string, number>;

  private constructor(
    /** Threads that work on a list, this one included. */
    readonly count: number,
    private readonly kernels: KernelModule,
    private readonly control: Int32Array<SharedArrayBuffer>,
    private readonly calls: Float64Array<SharedArrayBuffer>,
  ) {
    this.numberOf = new Map(Object.keys(kernels).map((name, number) => [name, number]));
  }

  /**
   * Starts `count - 1` workers on the kernels' shared memory. They do not keep the process alive.
   *
   * @param module what `kernels` is an instance of, importing `memory`.
   * @returns undefined where one thread is asked for, or workers are not allowed or do not start: then nothing is lost
   *   but time.
   */
  static async start(
    count: number,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    kernels: KernelModule,
  ): Promise<Threads | undefined> {
    const threads = builtin('node:worker_threads');
    if (!threads || count < 2) return undefined;
    const control = new Int32Array(new SharedArrayBuffer(6 * 4));
    const calls = new Float64Array(new SharedArrayBuffer(SLOTS * WIDTH * 8));
    const shared = { module, memory, control, calls, slots: SLOTS, width: WIDTH, spins: WORKER_SPINS };
    const workers: Worker[] = [];
    try {
      for (let thread = 1; thread < count; thread++) {
        const workerData = { ...shared, thread };
        const options = { eval: true, workerData, execArgv: [], env: {}, name: 'kernels' };
        workers.push(new threads.Worker(workerSource, options));
      }
      await Promise.all(workers.map(ready));
    } catch {
      for (const worker of workers) void worker.terminate();
      return undefined;
    }
    for (const worker of workers) worker.unref();
    return new Threads(count, kernels, control, calls);
  }

  /**
   * Makes every call once, on whichever thread takes it, and returns when all have returned. No call may read or write
   * what another one writes.
   *
   * @throws when a call throws, on a worker too.
   */
  run(list: readonly KernelCall[], scratch: ThreadScratch): void {
    for (let first = 0; first < list.length; first += SLOTS) this.runSome(list.slice(first, first + SLOTS), scratch);
  }

  private runSome(list: readonly KernelCall[], scratch: ThreadScratch): void {
    const { control } = this;
    const start = Atomics.load(control, ISSUED);
    for (const [i, call] of list.entries()) this.write(call, (start + i) & (SLOTS - 1));
    control[SCRATCH_AT] = scratch.at;
    control[SCRATCH_STRIDE] = scratch.stride;
    const end = (start + list.length) | 0;
    Atomics.store(control, ISSUED, end);
    Atomics.notify(control, ISSUED);
    for (let mine = this.take(end); mine !== undefined; mine = this.take(end)) {
      this.make(list[(mine - start) | 0]!, scratch.at);
    }
    this.waitUntilDone(end);
    if (Atomics.exchange(control, FAILED, 0)) throw new Error('kernels: a WebAssembly kernel trapped on its inputs.');
  }

  private write([kernel, ...args]: KernelCall, slot: number): void {
    const at = slot * WIDTH;
    this.calls[at] = this.numberOf.get(kernel)!;
    this.calls[at + 1] = args.length;
    this.calls.set(args, at + 2);
  }

  /** The number of a call that no other thread has, or undefined when all up to `end` are taken. */
  private take(end: number): number | undefined {
    for (;;) {
      const taken = Atomics.load(this.control, TAKEN);
      if (taken === end) return undefined;
      if (Atomics.compareExchange(this.control, TAKEN, taken, (taken + 1) | 0) === taken) return taken;
    }
  }

  private make(call: KernelCall, scratch: number): void {
    try {
      makeCall(this.kernels, call, scratch);
    } catch {
      Atomics.store(this.control, FAILED, 1);
    }
    Atomics.add(this.control, DONE, 1);
  }

  private waitUntilDone(end: number): void {
    for (let spins = 0; ; spins++) {
      const done = Atomics.load(this.control, DONE);
      if (done === end) return;
      if (spins > OWN_SPINS) Atomics.wait(this.control, DONE, done, 1);
    }
  }
}

/** Makes one call on this thread. */
export function makeCall(kernels: KernelModule, [kernel, ...args]: KernelCall, scratch: number): void {
  const run = kernels[kernel] as (...args: number[]) => void;
  run(...args.map((value) => (value === SCRATCH ? scratch : value)));
}

/** How many threads work here: `TMOE_THREADS`, or one per core and at most four. */
export function defaultThreadCount(): number {
  const asked = globalThis.process?.env?.TMOE_THREADS;
  if (!asked) return Math.min(4, builtin('node:os')?.availableParallelism() ?? 1);
  const count = Number(asked);
  if (!Number.isInteger(count) || count < 1) {
    throw new Error(`kernels: TMOE_THREADS must be a whole number from 1, got '${asked}'.`);
  }
  return count;
}

function ready(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
    worker.once('exit', reject);
  });
}

/** Node's own modules without an import, which a bundler for browsers would try to resolve. */
function builtin<T extends 'node:os' | 'node:worker_threads'>(name: T) {
  return globalThis.process?.getBuiltinModule?.(name);
}
