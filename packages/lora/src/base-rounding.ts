import { type BaseLinear, FrozenLinear } from '@therapeutic-moe/nn';

/** Half the distance of neighbours of a number by the number, and the least distance, half of it. */
const halves = {
  bfloat16: { relative: 2 ** -8, least: 0 },
  float16: { relative: 2 ** -11, least: 2 ** -25 },
};

/** The quotient and the product behind a whole number round too. */
const FLOAT32 = 1 + 2 ** -20;

/**
 * How far the weights of a base may be from those that it was made of: what freezing rounded, for int8 half a scale of the
 * row. None where they are float32.
 *
 * @returns the distance that is allowed of a weight of this value that leads to this output.
 */
export async function baseRounding(base: BaseLinear): Promise<(value: number, output: number) => number> {
  if (!(base instanceof FrozenLinear)) return () => 0;
  const { dtype, scales } = base.weight;
  if (dtype !== 'int8') {
    const { relative, least } = halves[dtype];
    return (value) => Math.abs(value) * relative + least;
  }
  const ofRows = await scales!.data();
  return (_, output) => (ofRows[output]! / 2) * FLOAT32;
}
