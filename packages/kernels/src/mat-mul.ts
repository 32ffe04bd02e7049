import * as tf from '@tensorflow/tfjs-core';
import { float32Product, inFloat32 } from './float32-products.js';

/**
 * Matrix product over the last two dimensions, with a gradient for every shape it accepts. The wasm and TensorFlow
 * backends run it on kernels of this package; unlike `tf.matMul`, a shared right-hand side is multiplied as one tall
 * product, whose gradient exists.
 *
 * @param a `[..., m, k]`, or `[..., k, m]` with `transposeA`.
 * @param b `[k, n]` shared by all of `a`'s leading dimensions, or `[..., k, n]` with `a`'s or broadcastable ones
 *   (`[..., n, k]` with `transposeB`).
 * @returns `[..., m, n]` float32. Caller disposes.
 * @throws when an operand has rank below 2, inner sizes differ, or leading dimensions do not broadcast.
 */
export function matMul(a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor {
  if (a.rank < 2 || b.rank < 2) {
    throw new Error(
      `matMul: both operands need rank 2 or more, got [${a.shape}] and [${b.shape}]; reshape a vector to one row.`,
    );
  }
  const innerA = a.shape.at(transposeA ? -2 : -1)!;
  const innerB = b.shape.at(transposeB ? -1 : -2)!;
  if (innerA !== innerB) {
    throw new Error(
      `matMul: inner sizes must agree, got ${innerA} of [${a.shape}]${transposeA ? ' transposed' : ''} and ` +
        `${innerB} of [${b.shape}]${transposeB ? ' transposed' : ''}.`,
    );
  }
  if (innerA === 0) return emptyProduct(a, b, transposeA, transposeB);
  if (a.rank === 2 && b.rank === 2) return product(a as tf.Tensor2D, b as tf.Tensor2D, transposeA, transposeB);
  if (b.rank === 2 && !transposeA) return tallProduct(a, b as tf.Tensor2D, transposeB);
  return tf.tidy(() => {
    const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
    const left = tf.broadcastTo(a, [...batch, ...a.shape.slice(-2)]);
    const right = tf.broadcastTo(b, [...batch, ...b.shape.slice(-2)]);
    return tf.matMul(left, right, transposeA, transposeB);
  });
}

function product(a: tf.Tensor2D, b: tf.Tensor2D, transposeA: boolean, transposeB: boolean): tf.Tensor2D {
  if (inFloat32() && !transposeA) return float32Product(a, b, transposeB);
  return tf.matMul(a, b, transposeA, transposeB);
}

function tallProduct(a: tf.Tensor, b: tf.Tensor2D, transposeB: boolean): tf.Tensor {
  return tf.tidy(() => {
    const rows = tf.reshape(a, [-1, a.shape.at(-1)!]);
    const tall = product(rows as tf.Tensor2D, b, false, transposeB);
    return tf.reshape(tall, [...a.shape.slice(0, -1), tall.shape[1]]);
  });
}

/** A sum of no products; WebGPU has no buffer of size 0, so no kernel runs. */
function emptyProduct(a: tf.Tensor, b: tf.Tensor, transposeA: boolean, transposeB: boolean): tf.Tensor {
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return tf.zeros([...batch, a.shape.at(transposeA ? -1 : -2)!, b.shape.at(transposeB ? -2 : -1)!]);
}
