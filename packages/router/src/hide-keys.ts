import * as tf from '@tensorflow/tfjs-core';

/** Added to the score of a hidden key: its weight is 0 in float32. */
const HIDDEN = -1e9;

/** Queries, keys and values `[batch, seq, heads, headDim]`. */
type Heads = { readonly q: tf.Tensor4D; readonly k: tf.Tensor4D; readonly v: tf.Tensor4D };

/**
 * Hides padded keys from attention that takes no mask: one more number per head, 1 in every query, 0 in a real key and
 * very low in a hidden one, joins the scores; the values get a 0. Keys carry their hiding into a cache.
 *
 * @param mask `[batch * seq]`, 0 where the key is hidden; absent: none is.
 * @returns heads one number wider. Caller disposes.
 */
export function hideKeys({ q, k, v }: Heads, mask?: tf.Tensor1D): Heads {
  return tf.tidy(() => {
    const [batch, seq, heads] = k.shape;
    const column: [number, number, number, number] = [batch, seq, heads, 1];
    const bias = mask
      ? tf.tile(tf.mul(tf.sub(1, tf.reshape(mask, [batch, seq, 1, 1])), HIDDEN), [1, 1, heads, 1])
      : tf.zeros(column);
    return {
      q: tf.concat4d([q, tf.ones(column)], 3),
      k: tf.concat4d([k, bias as tf.Tensor4D], 3),
      v: tf.concat4d([v, tf.zeros(column)], 3),
    };
  });
}
