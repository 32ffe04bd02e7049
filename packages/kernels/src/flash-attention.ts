import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/** What `flashAttention` needs besides its tensors. */
export interface AttentionOptions {
  /** A query sees keys up to its own position; with more keys than queries the queries are the last ones. */
  readonly causal: boolean;
  /** Factor on the scores, usually `headDim ** -0.5`. */
  readonly scale: number;
}

/**
 * Exact attention with memory linear in the number of keys (FlashAttention, arXiv:2205.14135: recomputed backward, no
 * `[seq, seq]` matrix kept). Grouped-query heads (arXiv:2305.13245) share keys and values without copies.
 *
 * @param q `[batch, seq, heads, headDim]`.
 * @param k `[batch, keys, kvHeads, headDim]`, `heads` a multiple of `kvHeads`, `keys >= seq` when causal.
 * @param v the shape of `k`.
 * @returns the shape of `q`. Caller disposes.
 * @throws when head counts, head sizes or lengths do not fit.
 */
export function flashAttention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions): tf.Tensor4D {
  checkAttention(q, k, v, options);
  if (!hasFusedKernel('FlashAttention')) return flashAttentionReference(q, k, v, options);
  const attrs = { causal: options.causal, scale: options.scale };
  return withGradient(
    [q, k, v],
    () => runFusedKernel('FlashAttention', { q, k, v }, attrs),
    (value) => [q, k, v, value],
    (dy, kept) => {
      const [q, k, v, value] = kept as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      return runFusedKernel<tf.Tensor[]>('FlashAttentionGradient', { dy, q, k, v, value }, attrs);
    },
  );
}

/**
 * The plain form of `flashAttention`: the whole score matrix, masked and normalised. Same arguments, result and
 * gradient.
 */
export function flashAttentionReference(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  { causal, scale }: AttentionOptions,
): tf.Tensor4D {
  return tf.tidy(() => {
    const [batch, seq, heads, headDim] = q.shape;
    const [, keys, kvHeads] = k.shape;
    const group = heads / kvHeads;
    // Heads of one group are stacked along the rows, so keys and values need no copies: [batch, kvHeads, group * seq,
    // headDim].
    const queries = tf.reshape(tf.transpose(q, [0, 2, 1, 3]), [batch, kvHeads, group * seq, headDim]);
    const scores = tf.mul(tf.matMul(queries, tf.transpose(k, [0, 2, 1, 3]), false, true), scale);
    const masked = causal ? tf.add(scores, tf.tile(causalMask(seq, keys), [group, 1])) : scores;
    const mixed = tf.matMul(tf.softmax(masked), tf.transpose(v, [0, 2, 1, 3])); // [batch, kvHeads, group * seq, headDim]
    return tf.transpose(tf.reshape(mixed, [batch, heads, seq, headDim]), [0, 2, 1, 3]) as tf.Tensor4D;
  });
}

/** `[seq, keys]`: 0 where query `i` sees key `j`, a large negative number where it does not. */
function causalMask(seq: number, keys: number): tf.Tensor2D {
  const values = new Float32Array(seq * keys);
  for (let i = 0; i < seq; i++) values.fill(-1e9, i * keys + i + 1 + keys - seq, (i + 1) * keys);
  return tf.tensor2d(values, [seq, keys]);
}

function checkAttention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, { causal }: AttentionOptions): void {
  const [batch, seq, heads, headDim] = q.shape;
  const [kBatch, keys, kvHeads, kHeadDim] = k.shape;
  if (k.shape.join() !== v.shape.join()) {
    throw new Error(`flashAttention: k and v must have one shape, got [${k.shape}] and [${v.shape}].`);
  }
  if (batch !== kBatch || headDim !== kHeadDim) {
    throw new Error(`flashAttention: q [${q.shape}] and k [${k.shape}] must agree in batch and headDim.`);
  }
  if (heads % kvHeads !== 0) {
    throw new Error(
      `flashAttention: ${heads} heads cannot share ${kvHeads} key-value heads evenly; use a divisor of ${heads}.`,
    );
  }
  if (causal && keys < seq) {
    throw new Error(`flashAttention: causal attention of ${seq} queries needs at least as many keys, got ${keys}.`);
  }
}
