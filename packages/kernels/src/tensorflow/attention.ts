import type * as tf from '@tensorflow/tfjs-core';
import { type Handle, INT32, type RawOps } from './raw-ops.js';

/** Scores that are computed at once, at most: memory grows with the keys, not with their square. */
const SCORES_AT_ONCE = 1 << 22;

/** Queries of a block, at most: smaller blocks compute fewer scores that the causal mask hides. */
const QUERIES_AT_ONCE = 128;

/** Added to the score of a key that a query does not see: its exponential is 0. */
const UNSEEN = -1e9;

interface Sizes {
  readonly batch: number;
  readonly seq: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
  readonly scale: number;
}

/** Consecutive queries, and how many of the first keys they see. */
interface Block {
  readonly start: number;
  readonly rows: number;
  readonly keys: number;
}

/**
 * Exact attention by blocks of queries; the backward pass computes the scores again. Within a block, the heads of one
 * group lie along the rows: `[batch, kvHeads, group * rows, headDim]`.
 */
export function installAttention(ops: RawOps): void {
  ops.register('FlashAttention', ({ q, k, v }, attrs) => {
    const sizes = readSizes(q!, k!, attrs);
    const [keys, values] = headsFirst(ops, [k!, v!]);
    const blocks = queryBlocks(sizes);
    const rows = blocks.map((block) => block.rows);
    const queries = splitSeq(ops, ops.read(q!), rows);
    const outputs = blocks.flatMap((block, i) =>
      ops.tidy(() => {
        const shares = probabilities(ops, sizes, block, group(ops, sizes, queries[i]!), prefix(ops, block, keys!));
        return [ungroup(ops, sizes, ops.batchMatMul(shares, prefix(ops, block, values!)))];
      }),
    );
    return ops.tensor(ops.concat(outputs, 1));
  });

  ops.register('FlashAttentionGradient', ({ dy, q, k, v, value }, attrs) => {
    const sizes = readSizes(q!, k!, attrs);
    const [keys, values] = headsFirst(ops, [k!, v!]);
    const blocks = queryBlocks(sizes);
    const rows = blocks.map((block) => block.rows);
    const along = ops.reduce('Sum', ops.mul(ops.read(dy!), ops.read(value!)), 3); // [batch, seq, heads, 1]
    const parts = [ops.read(q!), ops.read(dy!), along].map((t) => splitSeq(ops, t, rows));
    const dQueries: Handle[] = [];
    let sums: Handle[] = [];
    blocks.forEach((block, i) => {
      const [dQuery, ...dKeysAndValues] = ops.tidy(() => {
        const [queries, dOutput, drift] = parts.map((t) => group(ops, sizes, t[i]!)) as [Handle, Handle, Handle];
        const [seenKeys, seenValues] = [keys!, values!].map((t) => prefix(ops, block, t)) as [Handle, Handle];
        const shares = probabilities(ops, sizes, block, queries, seenKeys);
        const dShares = ops.batchMatMul(dOutput, seenValues, false, true);
        const dScores = ops.mul(shares, ops.sub(dShares, drift));
        const scale = ops.float32(sizes.scale);
        return [
          ungroup(ops, sizes, ops.mul(ops.batchMatMul(dScores, seenKeys), scale)),
          pad(ops, sizes, block, ops.batchMatMul(dScores, ops.mul(queries, scale), true)),
          pad(ops, sizes, block, ops.batchMatMul(shares, dOutput, true)),
        ];
      });
      dQueries.push(dQuery!);
      sums = i === 0 ? dKeysAndValues : sums.map((sum, j) => addInto(ops, sum, dKeysAndValues[j]!));
    });
    const [dKeys, dValues] = sums.map((sum) => ops.tensor(ops.transpose(sum, [0, 2, 1, 3])));
    return [ops.tensor(ops.concat(dQueries, 1)), dKeys!, dValues!];
  });
}

function readSizes(q: tf.TensorInfo, k: tf.TensorInfo, attrs: { causal: boolean; scale: number }): Sizes {
  const [batch, seq, heads, headDim] = q.shape as [number, number, number, number];
  const [, keys, kvHeads] = k.shape as [number, number, number];
  return { batch, seq, keys, heads, kvHeads, headDim, ...attrs };
}

function queryBlocks({ batch, seq, keys, heads, causal }: Sizes): Block[] {
  const fitting = Math.floor(SCORES_AT_ONCE / (batch * heads * keys));
  const most = Math.max(1, Math.min(fitting, QUERIES_AT_ONCE));
  const blocks: Block[] = [];
  for (let start = 0; start < seq; start += most) {
    const rows = Math.min(most, seq - start);
    blocks.push({ start, rows, keys: causal ? keys - seq + start + rows : keys });
  }
  return blocks;
}

/** `[batch, keys, kvHeads, headDim]` to `[batch, kvHeads, keys, headDim]`. */
function headsFirst(ops: RawOps, tensors: readonly tf.TensorInfo[]): Handle[] {
  return tensors.map((t) => ops.transpose(ops.read(t), [0, 2, 1, 3]));
}

/** `[batch, rows, heads, width]` to `[batch, kvHeads, group * rows, width]`. */
function group(ops: RawOps, { batch, kvHeads }: Sizes, x: Handle): Handle {
  return ops.reshape(ops.transpose(x, [0, 2, 1, 3]), [batch, kvHeads, -1, x.shape[3]!]);
}

/** The way back of `group`. */
function ungroup(ops: RawOps, { batch, heads, headDim }: Sizes, x: Handle): Handle {
  return ops.transpose(ops.reshape(x, [batch, heads, -1, headDim]), [0, 2, 1, 3]);
}

/** The blocks of `[batch, seq, heads, width]` along the sequence. */
function splitSeq(ops: RawOps, x: Handle, rows: readonly number[]): Handle[] {
  return rows.length === 1 ? [x] : ops.splitV(x, rows, 1);
}

/** The first keys or values, as many as the block sees. */
function prefix(ops: RawOps, block: Block, x: Handle): Handle {
  const [batch, kvHeads, keys, headDim] = x.shape as [number, number, number, number];
  if (block.keys === keys) return x;
  const size = ops.int32([batch, kvHeads, block.keys, headDim]);
  return ops.run('Slice', [x, ops.int32([0, 0, 0, 0]), size], [ops.type('T', x.dtype), ops.type('Index', INT32)]);
}

/** Zeros for the keys that the block does not see. */
function pad(ops: RawOps, { keys }: Sizes, block: Block, x: Handle): Handle {
  if (block.keys === keys) return x;
  const amounts = ops.int32([0, 0, 0, 0, 0, keys - block.keys, 0, 0], [4, 2]);
  return ops.run('Pad', [x, amounts], [ops.type('T', x.dtype), ops.type('Tpaddings', INT32)]);
}

function addInto(ops: RawOps, sum: Handle, part: Handle): Handle {
  const result = ops.add(sum, part);
  ops.free(sum);
  ops.free(part);
  return result;
}

/** Softmax of the block's scores, `[batch, kvHeads, group * rows, keys]`. */
function probabilities(ops: RawOps, sizes: Sizes, block: Block, queries: Handle, keys: Handle): Handle {
  const scores = ops.batchMatMul(ops.mul(queries, ops.float32(sizes.scale)), keys, false, true);
  const masked = sizes.causal && block.rows > 1 ? ops.add(scores, causalMask(ops, sizes, block)) : scores;
  return ops.run('Softmax', [masked]);
}

/** `[group * rows, keys]`: 0 where a query sees a key, else `UNSEEN`. The last query of a block sees all its keys. */
function causalMask(ops: RawOps, { heads, kvHeads }: Sizes, { rows, keys }: Block): Handle {
  const all = ops.fill([rows, keys], UNSEEN);
  const seen = ops.run(
    'MatrixBandPart',
    [all, ops.int32(-1), ops.int32(keys - rows)],
    [ops.type('T', all.dtype), ops.type('Tindex', INT32)],
  );
  const mask = ops.sub(all, seen);
  if (heads === kvHeads) return mask;
  const attributes = [ops.type('T', mask.dtype), ops.type('Tmultiples', INT32)];
  return ops.run('Tile', [mask, ops.int32([heads / kvHeads, 1])], attributes);
}
