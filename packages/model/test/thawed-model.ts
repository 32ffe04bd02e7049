import * as tf from '@tensorflow/tfjs-core';
import { thaw } from '@therapeutic-moe/kernels';
import { CausalLm } from '../src/index.js';

/** A float32 model of exactly the numbers that a frozen one stands for. Caller disposes. */
export function thawedModel(frozen: CausalLm): CausalLm {
  const model = CausalLm.empty(frozen.config);
  const own = new Map([...frozen.parameters(), ...frozen.buffers()]);
  for (const [path, variable] of [...model.parameters(), ...model.buffers()]) {
    tf.tidy(() => {
      const matrix = frozen.frozenWeights.get(path);
      if (!matrix) return variable.assign(own.get(path)!);
      const weight = thaw(matrix);
      // The embedding has a row for each token, as it is frozen; all others are turned.
      variable.assign(path === 'model.embed_tokens.weight' ? tf.transpose(weight) : weight);
    });
  }
  return model;
}
