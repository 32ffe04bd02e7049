import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';

/** One step of a 32-bit mixer (the finaliser of MurmurHash3): every input bit reaches every output bit. */
function mix(word: number): number {
  let x = word | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/**
 * A stream of numbers in [0, 1), the same for the same seed. The seed is mixed first: the generator's own seeding gives
 * neighbouring seeds the same first number.
 *
 * @param seed any safe integer; all of its 53 bits count.
 */
export function seededUniform(seed: number): () => number {
  const low = seed | 0;
  const high = Math.floor(seed / 2 ** 32) | 0;
  const state: number[] = [];
  let word = 0;
  for (let i = 1; i <= 4; i++) {
    word = mix(mix(word ^ low) + high + Math.imul(i, 0x9e3779b9));
    state.push(word);
  }
  if (!state.some(Boolean)) state[0] = 1; // the one state the generator cannot leave
  const generator = xoroshiro128plusFromState(state);
  return () => uniformFloat64(generator);
}
