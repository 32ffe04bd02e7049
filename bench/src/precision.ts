import type { InstallOptions } from '@therapeutic-moe/kernels';
import type { Lab, Peer } from './comparison.js';

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

/** PyTorch in float32, and where ours rounds its products, in its own bfloat16 too. */
export function torchPeers(lab: Lab, script: string, input: object, precision: Precision): readonly Peer[] {
  const peer = (name: string, of: Precision) => ({
    name,
    measure: () => lab.python(script, { ...input, precision: of }),
  });
  return [peer('torch', 'float32'), ...(precision === 'float32' ? [] : [peer(`torch-${precision}`, precision)])];
}
