import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { ranges, STREAM } from './split.js';
import { type KernelCall, SCRATCH } from './threads.js';

/** Queries of one call forward, as many as the kernel packs a tile of keys for. */
const BLOCK = 256;

interface Attributes {
  readonly scale: number;
  /** `[batch * seq]`, as `end`. */
  readonly first: Int32Array;
  readonly end: Int32Array;
  /** `[heads]`, or empty. */
  readonly slopes: readonly number[];
}

/** One query head of one batch item: where its rows start, in bytes from where the tensor does. */
interface Head {
  readonly q: number;
  readonly k: number;
  /** Of its log-sum-exps. */
  readonly lse: number;
  /** Of its ranges. */
  readonly range: number;
  /** Its number among the heads that share its key-value head. */
  readonly member: number;
  readonly slope: number;
}

/** Exact attention over key ranges, forward and backward. */
export function installAttention(heap: WasmHeap): void {
  const { module } = heap;
  const at = heap.address;

  // Heads and blocks of queries write apart from each other.
  replaceKernel('FlashAttention', 'wasm', ({ inputs, attrs }) => {
    const { q, k, v } = inputs as Record<'q' | 'k' | 'v', tf.TensorInfo>;
    const attributes = attrs as unknown as Attributes;
    const { batch, seq, heads, headDim, qRow, kRow } = sizesOf(q, k);
    const [o, lse] = [heap.output(q.shape), heap.output([batch, heads, seq])];
    const ends = writeRanges(heap, attributes);
    const [Q, K, V, O, L, F] = [at(q), at(k), at(v), at(o), at(lse), at(ends)];
    const calls = headsOf(q, k, attributes).flatMap((head) =>
      ranges(seq, BLOCK).map(({ first, count }): KernelCall => {
        const own = head.q + first * qRow * 4;
        const range = F + head.range + first * 4;
        const places = [Q + own, K + head.k, V + head.k, O + own, L + head.lse + first * 4] as const;
        const sizes = [count, qRow, kRow, headDim, attributes.scale, head.slope] as const;
        return ['attention', ...places, range, range + batch * seq * 4, ...sizes, SCRATCH];
      }),
    );
    const work = 2 * heads * headDim * pairs(attributes);
    heap.run(calls, seq === 1 ? STREAM * work : work, module.attentionScratchBytes(headDim));
    tf.backend().disposeData(ends.dataId);
    return [o, lse];
  });

  // A head is one call. Heads that share a key-value head write its gradient apart, and their parts are added in order.
  replaceKernel('FlashAttentionGradient', 'wasm', ({ inputs, attrs }) => {
    const {
      dy,
      q,
      k,
      v,
      value,
      kept0: lse,
    } = inputs as Record<'dy' | 'q' | 'k' | 'v' | 'value' | 'kept0', tf.TensorInfo>;
    const attributes = attrs as unknown as Attributes;
    const { batch, seq, keys, heads, group, headDim, qRow, kRow } = sizesOf(q, k);
    const [dQ, dK, dV] = [heap.output(q.shape), heap.output(k.shape), heap.output(k.shape)];
    const [partsK, partsV] =
      group === 1 ? [dK, dV] : [heap.output([group, ...k.shape]), heap.output([group, ...k.shape])];
    const ends = writeRanges(heap, attributes);
    const [D, Q, K, V, O, L, F] = [at(dy), at(q), at(k), at(v), at(value), at(lse), at(ends)];
    const [GQ, GK, GV] = [at(dQ), at(partsK), at(partsV)];
    const size = tf.util.sizeFromShape(k.shape);
    const calls = headsOf(q, k, attributes).map((head): KernelCall => {
      const part = head.k + head.member * size * 4;
      const given = [D + head.q, Q + head.q, K + head.k, V + head.k, O + head.q, L + head.lse] as const;
      const range = F + head.range;
      const places = [...given, GQ + head.q, GK + part, GV + part, range, range + batch * seq * 4] as const;
      return ['attentionGradient', ...places, seq, keys, qRow, kRow, headDim, attributes.scale, head.slope, SCRATCH];
    });
    heap.run(calls, 5 * heads * headDim * pairs(attributes), module.attentionGradientScratchBytes(headDim));
    tf.backend().disposeData(ends.dataId);
    if (group > 1) {
      module.sumRows(GK, group, size, at(dK));
      module.sumRows(GV, group, size, at(dV));
      for (const parts of [partsK, partsV]) tf.backend().disposeData(parts.dataId);
    }
    return [dQ, dK, dV];
  });
}

function sizesOf(q: tf.TensorInfo, k: tf.TensorInfo) {
  const [batch, seq, heads, headDim] = q.shape as [number, number, number, number];
  const [, keys, kvHeads] = k.shape as [number, number, number, number];
  const group = heads / kvHeads;
  return { batch, seq, keys, heads, kvHeads, group, headDim, qRow: heads * headDim, kRow: kvHeads * headDim };
}

function headsOf(q: tf.TensorInfo, k: tf.TensorInfo, { slopes }: Attributes): Head[] {
  const { batch, seq, keys, heads, group, headDim, qRow, kRow } = sizesOf(q, k);
  return ranges(batch * heads, 1).map(({ first }) => {
    const [item, head] = [Math.floor(first / heads), first % heads];
    return {
      q: (item * seq * qRow + head * headDim) * 4,
      k: (item * keys * kRow + Math.floor(head / group) * headDim) * 4,
      lse: first * seq * 4,
      range: item * seq * 4,
      member: head % group,
      slope: slopes[head] ?? 0,
    };
  });
}

/** `[2, batch * seq]`, int32: the ranges where the kernels read them. */
function writeRanges(heap: WasmHeap, { first, end }: Attributes): tf.TensorInfo {
  const ends = heap.output([2, first.length], 'int32');
  const values = heap.view(ends);
  values.set(first);
  values.set(end, first.length);
  return ends;
}

/** How many pairs of a query and a key there are. */
function pairs({ first, end }: Attributes): number {
  return end.reduce((sum, to, i) => sum + to - first[i]!, 0);
}
