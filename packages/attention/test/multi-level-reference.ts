import * as tf from '@tensorflow/tfjs-core';
import type { MultiLevelAttention, RopeTables } from '../src/index.js';

/** What a level reads and who takes what it gives, as whole matrices. */
interface Level {
  /** `[blocks, seq]`, rows sum to 1: which tokens a block's key and value are the mean of. */
  readonly pool: readonly number[][];
  /** `[blocks, seq]`, one 1 in each row: whose query a block has. */
  readonly ask: readonly number[][];
  /** `[seq, blocks]`, one 1 in each row or none: which block a token takes. */
  readonly take: readonly number[][];
  /** `[blocks, blocks]`, whether a block sees another. */
  readonly sees: readonly boolean[][];
}

/**
 * The plain form of multi-level attention: every level by full matrices, nothing skipped, no kernels of ours but the
 * projections. @param x `[batch, seq, hidden]`. @returns `[batch, seq, hidden]`.
 */
export function multiLevelReference(
  { config, levels, projections, gate }: MultiLevelAttention,
  x: tf.Tensor3D,
  { cos, sin }: RopeTables,
): tf.Tensor3D {
  const [batch, seq] = x.shape;
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = config;
  const strides = [1, ...levels.strides];
  const split = (t: tf.Tensor, count: number) =>
    tf.transpose(tf.reshape(t, [batch, seq, count, headDim]), [0, 2, 1, 3]); // [batch, count, seq, headDim]
  const turn = (t: tf.Tensor) => {
    const [a, b] = tf.split(t, 2, 3) as [tf.Tensor, tf.Tensor];
    return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], 3);
  };
  const shared = (t: tf.Tensor) =>
    tf.reshape(tf.tile(tf.reshape(t, [batch, kvHeads, 1, seq * headDim]), [1, 1, heads / kvHeads, 1]), [
      batch * heads,
      seq,
      headDim,
    ]);
  const q = tf.reshape(turn(split(projections.q_proj.apply(x), heads)), [batch * heads, seq, headDim]);
  const k = shared(turn(split(projections.k_proj.apply(x), kvHeads)));
  const v = shared(split(projections.v_proj.apply(x), kvHeads));
  const times = (matrix: readonly number[][], t: tf.Tensor) =>
    tf.matMul(tf.tile(tf.tensor3d([matrix as number[][]]), [batch * heads, 1, 1]), t as tf.Tensor3D);
  const given = strides.map((stride) => {
    const { pool, ask, take, sees } = stride === 1 ? fineLevel(seq, levels.window) : coarseLevel(seq, stride);
    if (pool.length === 0) return tf.zeros([batch, seq, heads, headDim]);
    const scores = tf.mul(tf.matMul(times(ask, q), times(pool, k), false, true), headDim ** -0.5);
    const hidden = tf.tensor2d(sees.map((row) => row.map((seen) => (seen ? 0 : -1e9))));
    const out = times(take, tf.matMul(tf.softmax(tf.add(scores, hidden)), times(pool, v)));
    return tf.transpose(tf.reshape(out, [batch, heads, seq, headDim]), [0, 2, 1, 3]);
  });
  const absent = tf.tensor3d([
    Array.from({ length: seq }, (_, token) => strides.map((stride) => (token >= stride - 1 ? 0 : -1e9))),
  ]);
  const gates = tf.reshape(gate.apply(x), [batch, seq, heads, strides.length]);
  const shares = tf.split(tf.softmax(tf.add(gates, tf.reshape(absent, [1, seq, 1, -1]))), strides.length, 3);
  const mixed = given.map((out, i) => tf.mul(out, shares[i]!)).reduce((a, b) => tf.add(a, b));
  return projections.o_proj.apply(tf.reshape(mixed, [batch, seq, heads * headDim])) as tf.Tensor3D;
}

function fineLevel(seq: number, window: number): Level {
  const identity = table(seq, seq, (i, j) => Number(i === j));
  return { pool: identity, ask: identity, take: identity, sees: table(seq, seq, (i, j) => j <= i && j > i - window) };
}

function coarseLevel(seq: number, stride: number): Level {
  const blocks = Math.floor(seq / stride);
  const inBlock = (block: number, token: number) => token >= block * stride && token < (block + 1) * stride;
  return {
    pool: table(blocks, seq, (block, token) => (inBlock(block, token) ? 1 / stride : 0)),
    ask: table(blocks, seq, (block, token) => Number(token === (block + 1) * stride - 1)),
    take: table(seq, blocks, (token, block) => Number(block === Math.floor((token + 1) / stride) - 1)),
    sees: table(blocks, blocks, (a, b) => b <= a),
  };
}

function table<T>(rows: number, columns: number, at: (row: number, column: number) => T): T[][] {
  return Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => at(i, j)));
}
