import type * as tf from '@tensorflow/tfjs-core';
import { dims } from '@therapeutic-moe/nn';
import type { RoutePass } from './routing.js';

/** Refuses hidden states and passes that do not fit a router. @throws Error naming what, the sizes and the way out. */
export function checkPass(
  hidden: tf.Tensor2D,
  { mask, replay, sequences }: RoutePass,
  { hiddenSize, numExpertsPerTok }: { readonly hiddenSize: number; readonly numExpertsPerTok: number },
): void {
  const { tokens } = dims('router.route: hidden', hidden, ['tokens', 'hidden'], { hidden: hiddenSize });
  if (mask) dims('router.route: pass.mask', mask, ['tokens'], { tokens });
  if (replay) {
    dims('router.route: pass.replay', replay, ['tokens', 'k'], { tokens, k: numExpertsPerTok });
    if (replay.dtype !== 'int32') {
      throw new Error(`router.route: pass.replay must be int32, got ${replay.dtype}; give the indices of a routing.`);
    }
  }
  if (sequences && sequences.batch * sequences.seq !== tokens) {
    throw new Error(
      `router.route: pass.sequences has batch ${sequences.batch} * seq ${sequences.seq}, but hidden has ${tokens} tokens; they must be equal.`,
    );
  }
}
