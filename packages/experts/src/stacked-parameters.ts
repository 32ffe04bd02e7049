import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from '@therapeutic-moe/nn';
import type { Experts } from './experts.js';

/** The parameters that hold one slice per expert, by name; those that all experts share are left out. */
export function stackedParameters(experts: Experts): Parameters {
  const shown = new Set<number>();
  const copies = experts.rebuild((stacked) => {
    shown.add(stacked.id);
    return tf.clone(stacked); // shares its memory
  });
  copies.dispose();
  return new Map([...experts.parameters()].filter(([, { id }]) => shown.has(id)));
}
