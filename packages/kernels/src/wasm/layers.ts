import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';

type Infos = Record<string, tf.TensorInfo>;

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
    module.rmsNorm(at(x!), at(weight!), tf.util.sizeFromShape(x!.shape) / width, width, epsilon!, at(y));
    return y;
  });
  register('RmsNormGradient', ({ dy, x, weight }, { epsilon }) => {
    const dx = heap.output(x!.shape);
    const dWeight = heap.output(weight!.shape);
    const width = weight!.shape[0]!;
    const rows = tf.util.sizeFromShape(x!.shape) / width;
    module.rmsNormGradient(at(dy!), at(x!), at(weight!), rows, width, epsilon!, at(dx), at(dWeight));
    return [dx, dWeight];
  });

  register('SwiGlu', ({ x }) => {
    const [rows, double] = x!.shape as [number, number];
    const y = heap.output([rows, double / 2]);
    module.swiGlu(at(x!), rows, double / 2, at(y));
    return y;
  });
  register('SwiGluGradient', ({ dy, x }) => {
    const dx = heap.output(x!.shape);
    module.swiGluGradient(at(dy!), at(x!), x!.shape[0]!, x!.shape[1]! / 2, at(dx));
    return dx;
  });

  register('Rotate', ({ x, cos, sin }, { direction }) => {
    const [batch, seq, heads, headDim] = x!.shape as [number, number, number, number];
    const y = heap.output(x!.shape);
    module.rotate(at(x!), at(cos!), at(sin!), batch * seq, seq, heads, headDim, direction!, at(y));
    return y;
  });

  register('FlashAttention', ({ q, k, v }, { scale, causal }) => {
    const { batch, seq, keys, heads, kvHeads, headDim } = attentionSizes(q!, k!);
    const o = heap.output(q!.shape);
    const work = heap.scratch(module.attentionScratchBytes(keys));
    module.attention(
      at(q!),
      at(k!),
      at(v!),
      at(o),
      batch,
      seq,
      keys,
      heads,
      kvHeads,
      headDim,
      scale!,
      Boolean(causal),
      work,
    );
    return o;
  });
  register('FlashAttentionGradient', ({ dy, q, k, v, value }, { scale, causal }) => {
    const { batch, seq, keys, heads, kvHeads, headDim } = attentionSizes(q!, k!);
    const [dQ, dK, dV] = [heap.output(q!.shape), heap.output(k!.shape), heap.output(v!.shape)];
    const work = heap.scratch(module.attentionScratchBytes(keys));
    const sizes = [batch, seq, keys, heads, kvHeads, headDim] as const;
    module.attentionGradient(
      at(dy!),
      at(q!),
      at(k!),
      at(v!),
      at(value!),
      at(dQ),
      at(dK),
      at(dV),
      ...sizes,
      scale!,
      Boolean(causal),
      work,
    );
    return [dQ, dK, dV];
  });

  register('CrossEntropy', ({ logits, targets }) => {
    const [rows, vocab] = logits!.shape as [number, number];
    checkTargets(heap.view(targets!), vocab);
    const losses = heap.output([rows]);
    module.crossEntropy(at(logits!), at(targets!), rows, vocab, at(losses), 0, 0);
    return losses;
  });
  register('CrossEntropyGradient', ({ dy, logits, targets }) => {
    const [rows, vocab] = logits!.shape as [number, number];
    const gradient = heap.output([rows, vocab]);
    module.crossEntropy(at(logits!), at(targets!), rows, vocab, 0, at(dy!), at(gradient));
    return gradient;
  });

  register('AdamW', ({ parameter, gradient, firstMoment, secondMoment }, o) => {
    const size = tf.util.sizeFromShape(parameter!.shape);
    const [p, g, m, v] = [at(parameter!), at(gradient!), at(firstMoment!), at(secondMoment!)];
    module.adamW(p, g, m, v, size, o.rate!, o.beta1!, o.beta2!, o.epsilon!, o.decay!, o.inverseRoot!, o.gradientScale!);
    return [];
  });
  register('SumOfSquares', ({ x }) => {
    const out = heap.output([]);
    const sum = module.sumOfSquares(at(x!), tf.util.sizeFromShape(x!.shape));
    heap.view(out)[0] = sum;
    return out;
  });
}

/** A target past the vocabulary would read, and backward write, another tensor's memory. */
function checkTargets(targets: ArrayLike<number>, vocab: number): void {
  for (let i = 0; i < targets.length; i++) {
    if (targets[i]! >= vocab) {
      throw new Error(`crossEntropy: target ${targets[i]} at row ${i} is outside the vocabulary of ${vocab}.`);
    }
  }
}

function attentionSizes(q: tf.TensorInfo, k: tf.TensorInfo) {
  const [batch, seq, heads, headDim] = q.shape as [number, number, number, number];
  const [, keys, kvHeads] = k.shape as [number, number, number, number];
  return { batch, seq, keys, heads, kvHeads, headDim };
}
