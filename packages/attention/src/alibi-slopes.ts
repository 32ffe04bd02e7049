/**
 * What a key loses in score for each position it lies further back, one slope per head (ALiBi, arXiv:2108.12409,
 * section 3): for n heads, n a power of two, `2^(-8 i / n)` with i from 1 to n. Other counts take the slopes of the power
 * of two below and, for the heads that remain, every other one of twice as many, as the authors' code does.
 *
 * @returns `[heads]`, for `flashAttention`.
 * @throws when `heads` is no whole number of 1 or more.
 */
export function alibiSlopes(heads: number): number[] {
  if (!(Number.isInteger(heads) && heads >= 1))
    throw new Error(`alibiSlopes: heads must be a whole number of 1 or more, got ${heads}.`);
  const whole = 2 ** Math.floor(Math.log2(heads));
  const between = geometric(2 * whole).filter((_, i) => i % 2 === 0);
  return [...geometric(whole), ...between.slice(0, heads - whole)];
}

function geometric(heads: number): number[] {
  return Array.from({ length: heads }, (_, i) => 2 ** ((-8 * (i + 1)) / heads));
}
