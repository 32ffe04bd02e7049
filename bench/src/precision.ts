import type { InstallOptions } from '@therapeutic-moe/kernels';

/** What the large products compute with. */
export type Precision = NonNullable<InstallOptions['precision']>;

/** The precisions that a backend of ours can be measured in. */
export function precisionsOf(backend: string): readonly Precision[] {
  return backend === 'tensorflow' ? ['float32', 'bfloat16'] : ['float32'];
}

/** What a case's name ends with, so that one precision is never read as the other. */
export function suffixOf(precision: Precision): string {
  return precision === 'float32' ? '' : `, ${precision} products`;
}
