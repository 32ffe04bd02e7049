import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus, xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';

/** A seeded generator whose whole state is four integers. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, `below`). */
  below(below: number): number;
  state(): number[];
}

const wrap = (generator: ReturnType<typeof xoroshiro128plus>): Random => ({
  next: () => (generator.next() >>> 0) / 2 ** 32,
  below: (below) => uniformInt(generator, 0, below - 1),
  state: () => [...generator.getState()],
});

export const createRandom = (seed: number): Random => wrap(xoroshiro128plus(seed | 0));
export const restoreRandom = (state: readonly number[]): Random => wrap(xoroshiro128plusFromState(state));

/** One 32-bit seed out of several numbers, so that neighbouring steps and domains get unrelated ones. */
export function mixSeeds(...parts: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    hash = Math.imul(hash ^ (part | 0), 0x9e3779b1);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x85ebca77);
    hash ^= hash >>> 13;
  }
  return hash | 0;
}

/** The numbers 0..count-1 in a seeded order (Fisher-Yates). */
export function seededOrder(count: number, seed: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  const random = createRandom(seed);
  for (let i = count - 1; i > 0; i -= 1) {
    const j = random.below(i + 1);
    const kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  return order;
}
