import type { FrozenDtype } from '@therapeutic-moe/kernels';

/** What a model holds its matrices as. Only float32 ones are trained; the others are frozen. */
export type WeightDtype = 'float32' | FrozenDtype;

/** All of them, the largest first. */
export const weightDtypes: readonly WeightDtype[] = ['float32', 'bfloat16', 'float16', 'int8'];
