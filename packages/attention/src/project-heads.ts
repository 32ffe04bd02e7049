import * as tf from '@tensorflow/tfjs-core';
import { rotate } from '@therapeutic-moe/kernels';
import { dims } from '@therapeutic-moe/nn';
import type { AttentionConfig, AttentionPass, AttentionProjections } from './attention.js';

/** Queries `[batch, seq, heads, headDim]`, keys and values `[batch, seq, kvHeads, headDim]` of the tokens of a pass. */
export type Heads = { readonly q: tf.Tensor4D; readonly k: tf.Tensor4D; readonly v: tf.Tensor4D };

/** Projects the tokens to heads and turns queries and keys by their positions. @param x `[batch, seq, hidden]`. */
export function projectHeads(
  x: tf.Tensor3D,
  projections: AttentionProjections,
  { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim }: AttentionConfig,
  { rope, context }: AttentionPass,
): Heads {
  const { batch, seq } = dims('attention.apply: x', x, ['batch', 'seq', 'hidden'], { hidden: hiddenSize });
  return tf.tidy(() => {
    const project = (name: keyof AttentionProjections, heads: number) =>
      tf.reshape(projections[name].apply(x, context), [batch, seq, heads, headDim]) as tf.Tensor4D;
    const turned = (heads: tf.Tensor4D) => (rope ? rotate(heads, rope) : heads);
    return {
      q: turned(project('q_proj', numAttentionHeads)),
      k: turned(project('k_proj', numKeyValueHeads)),
      v: project('v_proj', numKeyValueHeads),
    };
  });
}
