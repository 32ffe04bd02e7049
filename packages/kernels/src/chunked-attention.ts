import * as tf from '@tensorflow/tfjs-core';
import type { KeyRanges } from './key-ranges.js';
import { type KeyArrays, KeySums } from './key-sums.js';
import {
  type HeadedSizes,
  hiddenKeys,
  keyDistances,
  type QueryBlock,
  queryBlocks,
  seeingQueries,
} from './query-blocks.js';
import { withGradient } from './with-gradient.js';

/** What scores are made of besides queries and keys. */
interface Scoring {
  readonly scale: number;
  /** `[heads]`. Absent or empty: none. */
  readonly slopes?: readonly number[];
  readonly visible: KeyRanges;
}

interface Sizes extends HeadedSizes {
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * `flashAttention` from TensorFlow.js ops alone, for backends without a kernel: block by block of queries over the keys
 * they see, and a backward pass that computes the scores of a block again (FlashAttention, arXiv:2205.14135, algorithm 4,
 * whose blocks of keys are here as wide as needed). Memory is linear in the keys. Within a block the heads of one group lie
 * along the rows, `[batch, kvHeads, group * queries, headDim]`, so keys and values need no copies.
 * `tensorflow/attention.ts` is the same plan on TensorFlow's own ops, which free what they are done with.
 *
 * @param q `[batch, seq, heads, headDim]`.
 * @param k `[batch, keys, kvHeads, headDim]`.
 * @param v the shape of `k`.
 * @returns the shape of `q`. Caller disposes.
 */
export function chunkedAttention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, scoring: Scoring): tf.Tensor4D {
  return withGradient(
    [q, k, v],
    () => attend(q, k, v, scoring),
    (value) => [q, k, v, value],
    (dy, kept) => attendBackward(dy, kept as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D, tf.Tensor4D], scoring),
  );
}

function attend(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, scoring: Scoring): tf.Tensor {
  return tf.tidy(() => {
    const sizes = readSizes(q, k);
    const [keys, values] = [k, v].map((x) => tf.transpose(x, [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor];
    const outputs = queryBlocks(scoring.visible, sizes).map((block) =>
      tf.tidy(() => {
        const shares = sharesOf(grouped(q, block, sizes), seen(keys, block), block, sizes, scoring);
        return ungrouped(tf.matMul(shares, seen(values, block)), sizes);
      }),
    );
    return joined(outputs, 1);
  });
}

/** The gradients to q, k and v: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P (dP - rowsum(dO O))`, `dQ = dS K`, `dK = dSᵀ Q`. */
function attendBackward(
  dy: tf.Tensor,
  [q, k, v, value]: readonly [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D, tf.Tensor4D],
  scoring: Scoring,
): tf.Tensor[] {
  return tf.tidy(() => {
    const sizes = readSizes(q, k);
    const [keys, values] = [k, v].map((x) => tf.transpose(x, [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor];
    const along = tf.sum(tf.mul(dy, value), 3, true); // [batch, seq, heads, 1]
    const [dKeys, dValues] = [new KeySums(tensors, sizes.keys), new KeySums(tensors, sizes.keys)];
    const dQueries = queryBlocks(scoring.visible, sizes).map((block) => {
      const [dQuery, dKey, dValue] = tf.tidy(() => {
        const [queries, dOutput, drift] = [q, dy, along].map((x) => grouped(x, block, sizes)) as tf.Tensor[];
        const shares = sharesOf(queries!, seen(keys, block), block, sizes, scoring);
        const dShares = tf.matMul(dOutput!, seen(values, block), false, true);
        const dScores = tf.mul(tf.mul(shares, tf.sub(dShares, drift!)), scoring.scale);
        return [
          ungrouped(tf.matMul(dScores, seen(keys, block)), sizes),
          tf.matMul(dScores, queries!, true),
          tf.matMul(shares, dOutput!, true),
        ] as const;
      });
      dKeys.add(block, dKey);
      dValues.add(block, dValue);
      return dQuery;
    });
    return [joined(dQueries, 1), ...[dKeys, dValues].map((sum) => tf.transpose(sum.take(), [0, 2, 1, 3]))];
  });
}

/** `[batch, kvHeads, group * queries, end - first]`: rows sum to 1, or to 0 where a query sees no key. */
function sharesOf(
  queries: tf.Tensor,
  keys: tf.Tensor,
  block: QueryBlock,
  sizes: Sizes,
  { scale, slopes = [], visible }: Scoring,
): tf.Tensor {
  const { batch, heads } = sizes;
  const rows: [number, number, number, number] = [batch, 1, block.queries, block.end - block.first];
  const products = tf.matMul(tf.mul(queries, scale), keys, false, true);
  let scores = tf.reshape(products, [batch, heads, block.queries, block.end - block.first]);
  if (slopes.length > 0) {
    const distances = tf.tensor4d(keyDistances(visible, sizes, block), rows);
    scores = tf.add(scores, tf.mul(distances, tf.tensor4d([...slopes], [1, heads, 1, 1])));
  }
  if (block.hides !== 'nothing') scores = tf.add(scores, tf.tensor4d(hiddenKeys(visible, sizes, block), rows));
  let shares = tf.softmax(scores);
  if (block.blind) {
    const sees = tf.tensor4d(seeingQueries(visible, sizes, block), [batch, 1, block.queries, 1]);
    shares = tf.mul(shares, sees); // a query that sees nothing would share out all it does not see
  }
  return tf.reshape(shares, products.shape);
}

function readSizes(q: tf.Tensor4D, k: tf.Tensor4D): Sizes {
  const [batch, seq, heads, headDim] = q.shape;
  return { batch, seq, keys: k.shape[1], heads, kvHeads: k.shape[2], headDim };
}

/** The block's queries of `[batch, seq, heads, width]`, as `[batch, kvHeads, group * queries, width]`. */
function grouped(x: tf.Tensor, { start, queries }: QueryBlock, { batch, seq, heads, kvHeads }: Sizes): tf.Tensor {
  const width = x.shape[3]!;
  const rows = queries === seq ? x : tf.slice(x, [0, start, 0, 0], [batch, queries, heads, width]);
  return tf.reshape(tf.transpose(rows, [0, 2, 1, 3]), [batch, kvHeads, (heads / kvHeads) * queries, width]);
}

/** The way back of `grouped`. */
function ungrouped(x: tf.Tensor, { batch, heads, headDim }: Sizes): tf.Tensor {
  return tf.transpose(tf.reshape(x, [batch, heads, -1, headDim]), [0, 2, 1, 3]);
}

/** The keys or values that the block sees. */
function seen(x: tf.Tensor, { first, end }: QueryBlock): tf.Tensor {
  const [batch, kvHeads, keys, headDim] = x.shape as [number, number, number, number];
  return end - first === keys ? x : tf.slice(x, [0, 0, first, 0], [batch, kvHeads, end - first, headDim]);
}

function joined(parts: tf.Tensor[], axis: number): tf.Tensor {
  return parts.length === 1 ? parts[0]! : tf.concat(parts, axis);
}

const tensors: KeyArrays<tf.Tensor> = {
  add: (a, b) => inPlaceOf([a, b], tf.add(a, b)),
  pad: (x, before, behind) => {
    if (before + behind === 0) return x;
    return inPlaceOf(
      [x],
      tf.pad(x, [
        [0, 0],
        [0, 0],
        [before, behind],
        [0, 0],
      ]),
    );
  },
  split: (x, size) => {
    const [, , keys] = x.shape as [number, number, number];
    return inPlaceOf([x], tf.split(x, [size, keys - size], 2) as [tf.Tensor, tf.Tensor]);
  },
  concat: (parts) => joined([...parts], 2),
};

function inPlaceOf<T>(taken: tf.Tensor[], result: T): T {
  tf.dispose(taken);
  return result;
}
