import { type LoraConfig, startsFromBase } from '@therapeutic-moe/lora';

/** What carries updates of one adapter: a linear, the two halves of a fused one together, or a stack of experts. */
export interface AdaptedLinear {
  readonly inputSize: number;
  readonly outputSize: number;
  /** How many updates lie on it. */
  readonly updates: number;
  /** The sum of their ranks. */
  readonly rank: number;
}

/**
 * Numbers that an adapter holds of each token until a training step ends, on one linear: what its updates give and the base
 * gives beside them, the states of rank r, and gradients. Updates share two products; where they drop inputs each has its
 * own, and keeps how it was drawn, the multiplier and the dropped input. DoRA's lengths stretch the base's product.
 */
export function adapterActivations(
  { inputSize, outputSize, updates, rank }: AdaptedLinear,
  lora: Pick<LoraConfig, 'loraDropout' | 'useDora' | 'initLoraWeights'>,
): number {
  const [drops, starts] = [lora.loraDropout > 0, startsFromBase(lora)];
  const products = drops ? updates : 1;
  const plain = inputSize + (1 + products) * outputSize + 4 * rank * (starts ? 2 : 1);
  const dropped = drops ? updates * 5 * inputSize : 0;
  const stretched = lora.useDora ? products * (4 * outputSize + (drops ? 2 * inputSize : 0)) : 0;
  const undropped = drops && starts ? updates * (4 * inputSize + outputSize) : 0; // the base's part stays whole
  return plain + dropped + stretched + undropped;
}
