import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { CALL_VALUES, MOVE, type Range, ranges } from './split.js';
import { SCRATCH } from './threads.js';

type Infos = Record<string, tf.TensorInfo>;

/** Multiply-adds that take as long as one exponential. */
const EXP = 16;

/** Fused layers: normalisation, gated activation, rotary positions, attention, loss and optimiser step. */
export function installLayers(heap: WasmHeap): void {
  const { module } = heap;
  const at = heap.address;
  const register = (
    name: string,
    run: (inputs: Infos, attrs: Record<string, number>) => tf.TensorInfo | tf.TensorInfo[],
  ) =>
    replaceKernel(name, 'wasm', ({ inputs, attrs }) =>
      run(inputs as Infos, attrs as unknown as Record<string, number>),
    );

  register('RmsNorm', ({ x, weight }, { epsilon }) => {
    const y = heap.output(x!.shape);
    const width = weight!.shape[0]!;
    const [X, W, Y] = [at(x!), at(weight!), at(y)];
    const calls = rowRanges(x!, width).map(({ first, count }) => {
      const o = first * width * 4;
      return ['rmsNorm', X + o, W, count, width, epsilon!, Y + o] as const;
    });
    heap.run(calls, tf.util.sizeFromShape(x!.shape) * MOVE);
    return y;
  });
  // Every range of rows has its own sum for dWeight, and these are added in their order.
  register('RmsNormGradient', ({ dy, x, weight }, { epsilon }) => {
    const dx = heap.output(x!.shape);
    const dWeight = heap.output(weight!.shape);
    const width = weight!.shape[0]!;
    const blocks = rowRanges(x!, width);
    const sums = heap.output([blocks.length, width]);
    const [G, X, W, D, S] = [at(dy!), at(x!), at(weight!), at(dx), at(sums)];
    const calls = blocks.map(({ first, count }, i) => {
      const o = first * width * 4;
      return ['rmsNormGradient', G + o, X + o, W, count, width, epsilon!, D + o, S + i * width * 4] as const;
    });
    heap.run(calls, 2 * tf.util.sizeFromShape(x!.shape) * MOVE);
    module.sumRows(S, blocks.length, width, at(dWeight));
    tf.backend().disposeData(sums.dataId);
    return [dx, dWeight];
  });

  register('SwiGlu', ({ x }) => {
    const [rows, double] = x!.shape as [number, number];
    const width = double / 2;
    const y = heap.output([rows, width]);
    const [X, Y] = [at(x!), at(y)];
    const calls = rowRanges(x!, double).map(({ first, count }) => {
      return ['swiGlu', X + first * double * 4, count, width, Y + first * width * 4] as const;
    });
    heap.run(calls, rows * width * EXP);
    return y;
  });
  register('SwiGluGradient', ({ dy, x }) => {
    const dx = heap.output(x!.shape);
    const [rows, double] = x!.shape as [number, number];
    const width = double / 2;
    const [G, X, D] = [at(dy!), at(x!), at(dx)];
    const calls = rowRanges(x!, double).map(({ first, count }) => {
      const o = first * double * 4;
      return ['swiGluGradient', G + first * width * 4, X + o, count, width, D + o] as const;
    });
    heap.run(calls, rows * width * EXP);
    return dx;
  });

  register('Rotate', ({ x, cos, sin }, { direction, interleaved }) => {
    const [batch, seq, heads, headDim] = x!.shape as [number, number, number, number];
    const y = heap.output(x!.shape);
    const row = heads * headDim;
    const ofRows = cos!.shape.length === 3;
    const [X, C, S, Y] = [at(x!), at(cos!), at(sin!), at(y)];
    const parts = ranges(seq, Math.max(1, Math.floor(CALL_VALUES / row)));
    const calls = ranges(batch, 1).flatMap(({ first: item }) =>
      parts.map(({ first, count }) => {
        const o = (item * seq + first) * row * 4;
        const angle = ((ofRows ? item * seq : 0) + first) * (headDim / 2) * 4;
        const sizes = [count, count, heads, headDim] as const;
        return ['rotate', X + o, C + angle, S + angle, ...sizes, direction!, Number(interleaved), Y + o] as const;
      }),
    );
    heap.run(calls, tf.util.sizeFromShape(x!.shape) * MOVE);
    return y;
  });

  register('FlashAttention', ({ q, k, v }, { scale, causal }) => {
    const { seq, keys, headDim, qRow, kRow, work, groups } = attentionSizes(q!, k!);
    const o = heap.output(q!.shape);
    const [Q, K, V, O] = [at(q!), at(k!), at(v!), at(o)];
    const calls = groups.flatMap(({ qAt, kAt, heads }) =>
      ranges(heads, 1).map(({ first }) => {
        const own = qAt + first * headDim * 4;
        const sizes = [1, seq, keys, qRow, kRow, headDim] as const;
        return ['attention', Q + own, K + kAt, V + kAt, O + own, ...sizes, scale!, Number(causal), SCRATCH] as const;
      }),
    );
    heap.run(calls, work, module.attentionScratchBytes(keys));
    return o;
  });
  // The heads of a group add to the same dK and dV, so a group is one call.
  register('FlashAttentionGradient', ({ dy, q, k, v, value }, { scale, causal }) => {
    const { seq, keys, headDim, qRow, kRow, work, groups } = attentionSizes(q!, k!);
    const [dQ, dK, dV] = [heap.output(q!.shape), heap.output(k!.shape), heap.output(v!.shape)];
    const ofQ = [dy!, q!, value!, dQ].map(at) as [number, number, number, number];
    const ofK = [k!, v!, dK, dV].map(at) as [number, number, number, number];
    const calls = groups.map(({ qAt, kAt, heads }) => {
      const [G, Q, O, D] = ofQ.map((address) => address + qAt) as typeof ofQ;
      const [K, V, E, F] = ofK.map((address) => address + kAt) as typeof ofK;
      const sizes = [heads, seq, keys, qRow, kRow, headDim] as const;
      return ['attentionGradient', G, Q, K, V, O, D, E, F, ...sizes, scale!, Number(causal), SCRATCH] as const;
    });
    heap.run(calls, 2.5 * work, module.attentionScratchBytes(keys));
    return [dQ, dK, dV];
  });

  register('CrossEntropy', ({ logits, targets }) => {
    const [rows, vocab] = logits!.shape as [number, number];
    checkTargets(heap.view(targets!), vocab);
    const losses = heap.output([rows]);
    const [L, T, Y] = [at(logits!), at(targets!), at(losses)];
    const calls = rowRanges(logits!, vocab).map(({ first, count }) => {
      return ['crossEntropy', L + first * vocab * 4, T + first * 4, count, vocab, Y + first * 4, 0, 0] as const;
    });
    heap.run(calls, rows * vocab * EXP);
    return losses;
  });
  register('CrossEntropyGradient', ({ dy, logits, targets }) => {
    const [rows, vocab] = logits!.shape as [number, number];
    const gradient = heap.output([rows, vocab]);
    const [L, T, G, D] = [at(logits!), at(targets!), at(dy!), at(gradient)];
    const calls = rowRanges(logits!, vocab).map(({ first, count }) => {
      const o = first * vocab * 4;
      return ['crossEntropy', L + o, T + first * 4, count, vocab, 0, G + first * 4, D + o] as const;
    });
    heap.run(calls, rows * vocab * EXP);
    return gradient;
  });

  register('AdamW', ({ parameter, gradient, firstMoment, secondMoment }, o) => {
    const size = tf.util.sizeFromShape(parameter!.shape);
    const [p, g, m, v] = [at(parameter!), at(gradient!), at(firstMoment!), at(secondMoment!)];
    const { rate, beta1, beta2, epsilon, decay, inverseRoot, gradientScale } = o;
    const calls = ranges(size, CALL_VALUES).map(({ first, count }) => {
      const values = [p, g, m, v].map((address) => address + first * 4) as [number, number, number, number];
      const settings = [rate!, beta1!, beta2!, epsilon!, decay!, inverseRoot!, gradientScale!] as const;
      return ['adamW', ...values, count, ...settings] as const;
    });
    heap.run(calls, size * 3 * MOVE);
    return [];
  });
  register('SumOfSquares', ({ x }) => {
    const size = tf.util.sizeFromShape(x!.shape);
    const blocks = ranges(size, CALL_VALUES);
    const out = heap.output([]);
    const sums = heap.scratch(blocks.length * 8);
    const X = at(x!);
    heap.run(
      blocks.map(({ first, count }, i) => ['sumOfSquares', X + first * 4, count, sums + i * 8] as const),
      size * MOVE,
    );
    heap.view(out)[0] = module.sumDoubles(sums, blocks.length);
    return out;
  });
}

/** Ranges of rows of `width` values, each a call's worth. */
function rowRanges(x: tf.TensorInfo, width: number): Range[] {
  return ranges(tf.util.sizeFromShape(x.shape) / width, Math.max(1, Math.floor(CALL_VALUES / width)));
}

/** A target past the vocabulary would read, and backward write, another tensor's memory. */
function checkTargets(targets: ArrayLike<number>, vocab: number): void {
  for (let i = 0; i < targets.length; i++) {
    if (targets[i]! >= vocab) {
      throw new Error(`crossEntropy: target ${targets[i]} at row ${i} is outside the vocabulary of ${vocab}.`);
    }
  }
}

/** Sizes of an attention, and where the heads of each key-value head start in each batch item, in bytes. */
function attentionSizes(q: tf.TensorInfo, k: tf.TensorInfo) {
  const [batch, seq, heads, headDim] = q.shape as [number, number, number, number];
  const [, keys, kvHeads] = k.shape as [number, number, number, number];
  const [qRow, kRow, group] = [heads * headDim, kvHeads * headDim, heads / kvHeads];
  const groups = ranges(batch * kvHeads, 1).map(({ first }) => {
    const [item, kvHead] = [Math.floor(first / kvHeads), first % kvHeads];
    return {
      qAt: (item * seq * qRow + kvHead * group * headDim) * 4,
      kAt: (item * keys * kRow + kvHead * headDim) * 4,
      heads: group,
    };
  });
  return { seq, keys, headDim, qRow, kRow, groups, work: 2 * batch * heads * seq * keys * headDim };
}
