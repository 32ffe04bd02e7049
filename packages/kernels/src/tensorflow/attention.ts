import type * as tf from '@tensorflow/tfjs-core';
import type { KeyRanges } from '../key-ranges.js';
import { type KeyArrays, KeySums } from '../key-sums.js';
import {
  type HeadedSizes,
  hiddenKeys,
  keyDistances,
  type QueryBlock,
  queryBlocks,
  seeingQueries,
  UNSEEN,
} from '../query-blocks.js';
import { type Handle, INT32, type RawOps } from './raw-ops.js';

interface Attributes extends KeyRanges {
  readonly scale: number;
  readonly slopes: readonly number[];
}

/** What a call asks for: sizes, visibility and scoring. */
interface Call extends HeadedSizes, Attributes {
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * Exact attention by blocks of queries over the keys they see; the backward pass computes the scores again, unless they
 * were few and are still there. Within a block, the heads of one group lie along the rows: `[batch, kvHeads, group * queries, headDim]`.
 */
export function installAttention(ops: RawOps): void {
  ops.register('FlashAttention', ({ q, k, v }, attrs: Attributes) => {
    const call = readCall(q!, k!, attrs);
    const [keys, values] = headsFirst(ops, [k!, v!]);
    const blocks = queryBlocks(call, call);
    const queries = splitSeq(ops, ops.mul(ops.read(q!), ops.float32(call.scale)), blocks);
    const keeps = keepsShares(call, blocks);
    const kept: Handle[] = [];
    const outputs = blocks.flatMap((block, i) => {
      const [output, shares] = ops.tidy(() => {
        const shares = sharesOf(ops, call, block, group(ops, call, queries[i]!), seen(ops, block, keys!));
        const output = ungroup(ops, call, ops.batchMatMul(shares, seen(ops, block, values!)));
        return keeps ? [output, shares] : [output];
      });
      if (shares) kept.push(shares);
      return [output!];
    });
    const value = ops.tensor(ops.concat(outputs, 1));
    return keeps ? [value, ...kept.map((shares) => ops.tensor(shares))] : value;
  });

  ops.register('FlashAttentionGradient', ({ dy, q, k, v, value, ...kept }, attrs: Attributes) => {
    const call = readCall(q!, k!, attrs);
    const [keys, values] = headsFirst(ops, [k!, v!]);
    const blocks = queryBlocks(call, call);
    const scale = ops.float32(call.scale);
    const along = ops.reduce('Sum', ops.mul(ops.read(dy!), ops.read(value!)), 3); // [batch, seq, heads, 1]
    const parts = [ops.mul(ops.read(q!), scale), ops.read(dy!), along].map((t) => splitSeq(ops, t, blocks));
    const arrays = keyArrays(ops);
    const sums = [new KeySums(arrays, call.keys), new KeySums(arrays, call.keys)] as const;
    const dQueries = blocks.map((block, i) => {
      const [dQuery, dKeys, dValues] = ops.tidy(() => {
        const [queries, dOutput, drift] = parts.map((t) => group(ops, call, t[i]!)) as [Handle, Handle, Handle];
        const [seenKeys, seenValues] = [keys!, values!].map((t) => seen(ops, block, t)) as [Handle, Handle];
        const known = kept[`kept${i}`];
        const shares = known ? ops.read(known) : sharesOf(ops, call, block, queries, seenKeys);
        const dValues = ops.batchMatMul(shares, dOutput, true);
        const dShares = ops.batchMatMul(dOutput, seenValues, false, true);
        const dScores = instead(ops, known ? [dShares] : [shares, dShares], ops.mul(shares, ops.sub(dShares, drift)));
        const dQuery = ungroup(ops, call, ops.mul(ops.batchMatMul(dScores, seenKeys), scale));
        return [dQuery, ops.batchMatMul(dScores, queries, true), dValues] as const;
      });
      sums[0].add(block, dKeys);
      sums[1].add(block, dValues);
      return dQuery;
    });
    const [dKeys, dValues] = sums.map((sum) => ops.tensor(ops.transpose(sum.take(), [0, 2, 1, 3])));
    return [ops.tensor(ops.concat(dQueries, 1)), dKeys!, dValues!];
  });
}

/** Whether the shares are few enough to be kept for the gradient: at most eight times the queries' numbers. */
function keepsShares({ batch, heads, headDim, seq }: Call, blocks: readonly QueryBlock[]): boolean {
  const shares = blocks.reduce((sum, { queries, first, end }) => sum + queries * (end - first), 0) * batch * heads;
  return shares <= 8 * batch * heads * headDim * seq;
}

/** `[batch, kvHeads, group * queries, end - first]`: rows sum to 1, or to 0 where a query sees no key. */
function sharesOf(ops: RawOps, call: Call, block: QueryBlock, queries: Handle, keys: Handle): Handle {
  const products = ops.batchMatMul(queries, keys, false, true);
  const scores = ops.reshape(products, [call.batch, call.heads, block.queries, block.end - block.first]);
  ops.free(products); // its numbers live on under the other shape
  const masked = hide(ops, call, block, bend(ops, call, block, scores));
  const shares = instead(ops, [masked], ops.run('Softmax', [masked]));
  return ops.reshape(forget(ops, call, block, shares), products.shape);
}

/** Scores with what keys lose by their distance (ALiBi). Takes `scores`. */
function bend(ops: RawOps, call: Call, block: QueryBlock, scores: Handle): Handle {
  if (call.slopes.length === 0) return scores;
  const distances = ops.floats(keyDistances(call, call, block), rowShape(call, block));
  const slopes = ops.floats(Float32Array.from(call.slopes), [1, call.heads, 1, 1]);
  const losses = ops.mul(distances, slopes);
  return instead(ops, [scores, losses], ops.add(scores, losses));
}

/** Scores without the keys that queries do not see. Takes `scores`. */
function hide(ops: RawOps, call: Call, block: QueryBlock, scores: Handle): Handle {
  if (block.hides === 'nothing') return scores;
  const mask =
    block.hides === 'tail' ? tailMask(ops, block) : ops.floats(hiddenKeys(call, call, block), rowShape(call, block));
  return instead(ops, [scores], ops.add(scores, mask));
}

/** A query that sees nothing would share out all it does not see. Takes `shares`. */
function forget(ops: RawOps, call: Call, block: QueryBlock, shares: Handle): Handle {
  if (!block.blind) return shares;
  const sees = ops.floats(seeingQueries(call, call, block), [call.batch, 1, block.queries, 1]);
  return instead(ops, [shares], ops.mul(shares, sees));
}

/** `[queries, keys]`: 0 where a query sees a key, else `UNSEEN`, when the last query sees all keys and each before it one less. */
function tailMask(ops: RawOps, { queries, first, end }: QueryBlock): Handle {
  const all = ops.fill([queries, end - first], UNSEEN);
  const seen = ops.run(
    'MatrixBandPart',
    [all, ops.int32(-1), ops.int32(end - first - queries)],
    [ops.type('T', all.dtype), ops.type('Tindex', INT32)],
  );
  return ops.sub(all, seen);
}

/** `result`, which no longer needs what it was made of. */
function instead(ops: RawOps, taken: readonly Handle[], result: Handle): Handle {
  for (const handle of taken) ops.free(handle);
  return result;
}

function rowShape({ batch }: Call, { queries, first, end }: QueryBlock): number[] {
  return [batch, 1, queries, end - first];
}

function readCall(q: tf.TensorInfo, k: tf.TensorInfo, attrs: Attributes): Call {
  const [batch, seq, heads, headDim] = q.shape as [number, number, number, number];
  const [, keys, kvHeads] = k.shape as [number, number, number];
  return { batch, seq, keys, heads, kvHeads, headDim, ...attrs };
}

/** `[batch, keys, kvHeads, headDim]` to `[batch, kvHeads, keys, headDim]`. */
function headsFirst(ops: RawOps, tensors: readonly tf.TensorInfo[]): Handle[] {
  return tensors.map((t) => ops.transpose(ops.read(t), [0, 2, 1, 3]));
}

/** `[batch, queries, heads, width]` to `[batch, kvHeads, group * queries, width]`. */
function group(ops: RawOps, { batch, kvHeads }: Call, x: Handle): Handle {
  return ops.reshape(ops.transpose(x, [0, 2, 1, 3]), [batch, kvHeads, -1, x.shape[3]!]);
}

/** The way back of `group`. */
function ungroup(ops: RawOps, { batch, heads, headDim }: Call, x: Handle): Handle {
  return ops.transpose(ops.reshape(x, [batch, heads, -1, headDim]), [0, 2, 1, 3]);
}

/** The blocks of `[batch, seq, heads, width]` along the sequence. */
function splitSeq(ops: RawOps, x: Handle, blocks: readonly QueryBlock[]): Handle[] {
  if (blocks.length === 1) return [x];
  return ops.splitV(
    x,
    blocks.map(({ queries }) => queries),
    1,
  );
}

/** The keys or values that the block sees. */
function seen(ops: RawOps, { first, end }: QueryBlock, x: Handle): Handle {
  const [batch, kvHeads, keys, headDim] = x.shape as [number, number, number, number];
  if (end - first === keys) return x;
  const size = ops.int32([batch, kvHeads, end - first, headDim]);
  return ops.run('Slice', [x, ops.int32([0, 0, first, 0]), size], [ops.type('T', x.dtype), ops.type('Index', INT32)]);
}

function keyArrays(ops: RawOps): KeyArrays<Handle> {
  return {
    add: (a, b) => instead(ops, [a, b], ops.add(a, b)),
    pad: (x, before, behind) => {
      if (before + behind === 0) return x;
      const amounts = ops.int32([0, 0, 0, 0, before, behind, 0, 0], [4, 2]);
      return instead(ops, [x], ops.run('Pad', [x, amounts], [ops.type('T', x.dtype), ops.type('Tpaddings', INT32)]));
    },
    split: (x, size) => {
      const [first, rest] = ops.splitV(x, [size, x.shape[2]! - size], 2) as [Handle, Handle];
      ops.free(x);
      return [first, rest];
    },
    concat: (parts) => ops.concat(parts, 2),
  };
}
