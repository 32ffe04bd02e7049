import type { Timing } from './comparison.js';

/** How often `measure` repeats. */
export interface Repeats {
  readonly repeats: number;
  readonly warmUp: number;
  /** Short work is repeated until this much time has been measured. */
  readonly atLeastMs?: number;
}

/** Runs work after a warm-up, again and again, and returns the median time. */
export async function measure(
  work: () => Promise<unknown>,
  { repeats, warmUp, atLeastMs = 0 }: Repeats,
): Promise<Timing> {
  for (let i = 0; i < warmUp; i++) await work();
  const times: number[] = [];
  let spent = 0;
  while (times.length < repeats || spent < atLeastMs) {
    const start = performance.now();
    await work();
    const time = performance.now() - start;
    times.push(time);
    spent += time;
  }
  return timing(times);
}

/** The median, least and greatest of some times in milliseconds. */
export function timing(times: readonly number[]): Timing {
  if (times.length === 0) throw new Error('timing: there are no times; repeat at least once.');
  const sorted = [...times].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { medianMs: median, minMs: sorted[0], maxMs: sorted[sorted.length - 1], repeats: times.length };
}
