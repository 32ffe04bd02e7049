import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import { joinShares, programsFor, rowStatistics } from './attention-programs.js';
import { type AttentionTile, rowsOf } from './attention-tile.js';
import { RecentUploads } from './recent-uploads.js';
import type { Program, Recorder } from './recorder.js';
import { inLine, threadsFor } from './workgroups.js';

interface Attributes {
  readonly scale: number;
  readonly first: Int32Array;
  readonly end: Int32Array;
  readonly slopes: readonly number[];
}

/** Queries of a group, at most, that are as few as decoding has. */
const FEW = 8;

/** Workgroups that are enough to keep a GPU busy. Fewer than that share out the keys of a query. */
const BUSY = 256;

/** Keys of a workgroup, at least, where the keys of a query are shared out. */
const KEYS_OF_SHARE = 256;

/** Exact attention without a score matrix in memory. */
export function installAttention(recorder: Recorder): void {
  const uploads = new RecentUploads(recorder);

  replaceKernel('FlashAttention', 'webgpu', ({ inputs, attrs }) => {
    const { q, k, v } = inputs as Record<'q' | 'k' | 'v', tf.TensorInfo>;
    const sizes = sizesOf(q, k);
    const { program, tile } = forwardFor(sizes);
    const blocks = Math.ceil(sizes.groupRows / rowsOf(tile));
    const shares = sizes.groupRows > FEW ? 1 : sharesOf(blocks * sizes.pairs, sizes.keys);
    const { uniforms, visible } = argumentsOf(sizes, attrs as unknown as Attributes);
    const [o, lse] = recorder.run(
      program,
      { q, k, v, visible: uploads.get(visible) },
      { o: shares === 1 ? q.shape : [shares, ...q.shape], lse: [shares * sizes.batch, sizes.heads, sizes.seq] },
      { ...uniforms, blocks, shares },
      inLine(blocks * sizes.pairs * shares),
    );
    return shares === 1 ? [o!, lse!] : join(recorder, sizes, shares, o!, lse!);
  });

  replaceKernel('FlashAttentionGradient', 'webgpu', ({ inputs, attrs }) => {
    const {
      q,
      k,
      v,
      dy,
      value,
      kept0: lse,
    } = inputs as Record<'q' | 'k' | 'v' | 'dy' | 'value' | 'kept0', tf.TensorInfo>;
    const sizes = sizesOf(q, k);
    const { tall, queryGradient, keyGradient } = programsFor(sizes.headDim);
    const { uniforms, visible } = argumentsOf(sizes, attrs as unknown as Attributes);
    const statistics = statisticsOf(recorder, sizes, { dy, o: value, lse });
    const tensors = { q, k, v, dy, statistics, visible: uploads.get(visible) };
    const run = (program: Program, outputs: Record<string, number[]>, rows: number) => {
      const blocks = Math.ceil(rows / rowsOf(tall));
      return recorder.run(program, tensors, outputs, { ...uniforms, blocks, shares: 1 }, inLine(blocks * sizes.pairs));
    };
    const [dq] = run(queryGradient, { dq: q.shape }, sizes.groupRows);
    const [dk, dv] = run(keyGradient, { dk: k.shape, dv: v.shape }, sizes.keys);
    recorder.dispose(statistics);
    return [dq!, dk!, dv!];
  });
}

interface Sizes {
  readonly batch: number;
  readonly seq: number;
  readonly heads: number;
  readonly headDim: number;
  readonly keys: number;
  readonly kvHeads: number;
  /** `batch * seq * heads`. */
  readonly rows: number;
  /** `batch * kvHeads`: groups of heads. */
  readonly pairs: number;
  /** Queries of a group. */
  readonly groupRows: number;
}

function sizesOf(q: tf.TensorInfo, k: tf.TensorInfo): Sizes {
  const [batch, seq, heads, headDim] = q.shape as [number, number, number, number];
  const [, keys, kvHeads] = k.shape as [number, number, number];
  const groupRows = (seq * heads) / kvHeads;
  return { batch, seq, heads, headDim, keys, kvHeads, rows: batch * seq * heads, pairs: batch * kvHeads, groupRows };
}

function forwardFor({ headDim, groupRows }: Sizes): { program: Program; tile: AttentionTile } {
  const { tall, short, forward, forwardOfFew } = programsFor(headDim);
  return groupRows > FEW ? { program: forward, tile: tall } : { program: forwardOfFew, tile: short };
}

/** Among how many workgroups each of `blocks` shares out its keys. */
function sharesOf(blocks: number, keys: number): number {
  return Math.max(1, Math.min(Math.floor(BUSY / blocks), Math.ceil(keys / KEYS_OF_SHARE)));
}

function argumentsOf({ rows, groupRows, ...sizes }: Sizes, { scale, first, end, slopes }: Attributes) {
  const { batch, seq, heads, headDim } = sizes;
  const visible = new Int32Array(2 * batch * seq + heads);
  visible.set(first);
  visible.set(end, batch * seq);
  new Float32Array(visible.buffer).set(slopes, 2 * batch * seq);
  return { visible, uniforms: { ...sizes, width: Math.ceil(headDim / 4), queries: batch * seq, scale } };
}

function join(
  recorder: Recorder,
  { batch, seq, heads, headDim, rows }: Sizes,
  shares: number,
  os: tf.TensorInfo,
  lses: tf.TensorInfo,
): tf.TensorInfo[] {
  const { program, width } = joinShares(headDim);
  const outputs = { o: [batch, seq, heads, headDim], lse: [batch, heads, seq] };
  const joined = recorder.run(
    program,
    { os, lses },
    outputs,
    { seq, heads, rows, width, shares },
    threadsFor(rows * width),
  );
  for (const part of [os, lses]) recorder.dispose(part);
  return joined;
}

function statisticsOf(
  recorder: Recorder,
  { batch, seq, heads, headDim, rows }: Sizes,
  inputs: Readonly<Record<'dy' | 'o' | 'lse', tf.TensorInfo>>,
): tf.TensorInfo {
  const { program, width } = rowStatistics(headDim);
  const outputs = { statistics: [batch, seq, heads, 2] };
  return recorder.run(program, inputs, outputs, { seq, heads, rows, width }, threadsFor(rows))[0]!;
}
