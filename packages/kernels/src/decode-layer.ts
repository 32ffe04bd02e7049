import * as tf from '@tensorflow/tfjs-core';
import { flashAttentionReference } from './flash-attention.js';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { rmsNormReference } from './rms-norm.js';
import { type RopeTables, rotateReference } from './rotate.js';
import { swiGluReference } from './swi-glu.js';

/** Weights of one decoder layer, matrices `[input, output]`, read where they lie. */
export interface DecodeLayerWeights {
  /** `[hidden]`. */
  readonly inputNorm: tf.Tensor;
  /** `[hidden, heads * headDim]`. */
  readonly q: tf.Tensor;
  /** `[hidden, kvHeads * headDim]`. */
  readonly k: tf.Tensor;
  /** `[hidden, kvHeads * headDim]`. */
  readonly v: tf.Tensor;
  /** `[heads * headDim, hidden]`. */
  readonly o: tf.Tensor;
  /** `[hidden]`. */
  readonly postAttentionNorm: tf.Tensor;
  /** `[hidden, experts]`; absent: the feed-forward is dense. */
  readonly gate?: tf.Tensor;
  /** `[experts, hidden, 2 * intermediate]`, gate first, or `[hidden, 2 * intermediate]` when dense. */
  readonly gateUp: tf.Tensor;
  /** `[experts, intermediate, hidden]`, or `[intermediate, hidden]` when dense. */
  readonly down: tf.Tensor;
}

/** Room for keys and values of which the first `position` tokens are filled. */
export interface DecodeCache {
  /** `[1, rows, kvHeads, headDim]`, `rows > position`; row `position` is written in place. */
  readonly k: tf.Tensor4D;
  /** The shape of `k`. */
  readonly v: tf.Tensor4D;
  readonly position: number;
}

/** What the layer needs besides tensors. */
export interface DecodeLayerOptions {
  /** Of both norms. */
  readonly epsilon: number;
  /** Experts that the token visits; of no meaning when dense. */
  readonly numExpertsPerTok: number;
  /** The weights of the chosen experts add up to 1. */
  readonly normTopkProb: boolean;
}

/** One token after one layer; the caller disposes all of it. */
export interface DecodedLayer {
  /** `[1, hidden]`. */
  readonly hidden: tf.Tensor2D;
  /** Absent when dense. */
  readonly routing?: DecodedRouting;
}

/** Where the token went. */
export type DecodedRouting = {
  /** `[1, experts]`. */
  readonly logits: tf.Tensor2D;
  /** `[1, experts]`. */
  readonly probabilities: tf.Tensor2D;
  /** int32 `[1, numExpertsPerTok]`, best first. */
  readonly indices: tf.Tensor2D;
  /** `[1, numExpertsPerTok]`. */
  readonly weights: tf.Tensor2D;
};

/** Whether the active backend has the kernel of `decodeLayer`. */
export function hasDecodeLayer(): boolean {
  return hasFusedKernel('DecodeLayer');
}

/**
 * Takes one token through one whole decoder layer in one kernel: norm, attention over the cache with rotary positions
 * and grouped-query heads, residual; norm, the chosen SwiGLU experts or the dense feed-forward, residual. Its key and
 * value are written into the cache in place. For decoding only: it has no gradient.
 *
 * @param hidden `[1, hidden]`.
 * @param rotation tables of the token's position: `[1, headDim / 2]`, or `[1, 1, headDim / 2]`.
 * @throws when the backend has no such kernel, shapes do not fit, or a gate logit is not finite.
 */
export function decodeLayer(
  hidden: tf.Tensor2D,
  weights: DecodeLayerWeights,
  cache: DecodeCache,
  rotation: RopeTables,
  options: DecodeLayerOptions,
): DecodedLayer {
  if (!hasDecodeLayer()) {
    throw new Error(`decodeLayer: the backend '${tf.getBackend()}' has no such kernel; ask hasDecodeLayer first.`);
  }
  checkShapes(hidden, weights, cache, rotation);
  if (weights.gate) checkChoice(options.numExpertsPerTok, weights.gate.shape[1]!);
  const { k: keys, v: values, position } = cache;
  const [next, logits, probabilities, indices, shares] = runFusedKernel<tf.Tensor2D[]>(
    'DecodeLayer',
    { hidden, ...weights, keys, values, cos: rotation.cos, sin: rotation.sin },
    { ...options, position, interleaved: rotation.layout === 'interleaved' },
  );
  if (!logits) return { hidden: next! };
  return { hidden: next!, routing: { logits, probabilities: probabilities!, indices: indices!, weights: shares! } };
}

/**
 * The plain form of `decodeLayer`. Same arguments and result, but it cannot write in place: it also returns the row of
 * `k` and `v` `[1, 1, kvHeads, headDim]` that the kernel would have written.
 */
export function decodeLayerReference(
  hidden: tf.Tensor2D,
  weights: DecodeLayerWeights,
  { k, v, position }: DecodeCache,
  rotation: RopeTables,
  { epsilon, numExpertsPerTok, normTopkProb }: DecodeLayerOptions,
): DecodedLayer & { readonly k: tf.Tensor4D; readonly v: tf.Tensor4D } {
  const headDim = k.shape[3];
  const result = tf.tidy(() => {
    const x = rmsNormReference(hidden, weights.inputNorm as tf.Tensor1D, epsilon) as tf.Tensor2D;
    const heads = (weight: tf.Tensor) =>
      tf.reshape(tf.matMul(x, weight as tf.Tensor2D), [1, 1, -1, headDim]) as tf.Tensor4D;
    const key = rotateReference(heads(weights.k), rotation);
    const value = heads(weights.v);
    const seen = (held: tf.Tensor4D, fresh: tf.Tensor4D) =>
      tf.concat4d([tf.slice4d(held, [0, 0, 0, 0], [1, position, -1, -1]), fresh], 1);
    const query = rotateReference(heads(weights.q), rotation);
    const options = { causal: true, scale: headDim ** -0.5 };
    const attended = tf.reshape(flashAttentionReference(query, seen(k, key), seen(v, value), options), [1, -1]);
    const mixed = tf.add(hidden, tf.matMul(attended as tf.Tensor2D, weights.o as tf.Tensor2D)) as tf.Tensor2D;
    const y = rmsNormReference(mixed, weights.postAttentionNorm as tf.Tensor1D, epsilon) as tf.Tensor2D;
    const { output, routing } = feedForwardReference(y, weights, numExpertsPerTok, normTopkProb);
    return { hidden: tf.add(mixed, output) as tf.Tensor2D, ...(routing && { routing }), k: key, v: value };
  });
  return result as DecodedLayer & { k: tf.Tensor4D; v: tf.Tensor4D };
}

function feedForwardReference(
  x: tf.Tensor2D,
  { gate, gateUp, down }: DecodeLayerWeights,
  k: number,
  normalise: boolean,
): { output: tf.Tensor; routing?: DecodedRouting } {
  const through = (expert: number) => {
    const one = (stack: tf.Tensor) => tf.reshape(tf.slice(stack, expert, 1), stack.shape.slice(1) as [number, number]);
    const [wide, narrow] = gate ? [one(gateUp), one(down)] : [gateUp as tf.Tensor2D, down as tf.Tensor2D];
    return tf.matMul(swiGluReference(tf.matMul(x, wide)), narrow);
  };
  if (!gate) return { output: through(0) };
  const logits = tf.matMul(x, gate as tf.Tensor2D);
  const probabilities = tf.softmax(logits);
  const { values, indices } = tf.topk(probabilities, k);
  const weights = normalise ? tf.div(values, tf.sum(values, -1, true)) : values;
  const shares = tf.sum(tf.mul(tf.cast(tf.oneHot(indices, gate.shape[1]!), 'float32'), tf.expandDims(weights, -1)), 1);
  const parts = Array.from({ length: gate.shape[1]! }, (_, e) => tf.mul(through(e), tf.slice(shares, [0, e], [1, 1])));
  return {
    output: tf.addN(parts),
    routing: { logits, probabilities, indices, weights } as unknown as DecodedRouting,
  };
}

/** The kernel reads by address: a shape that does not fit would read another tensor's memory. */
function checkShapes(
  hidden: tf.Tensor2D,
  { inputNorm, q, k, v, o, postAttentionNorm, gate, gateUp, down }: DecodeLayerWeights,
  cache: DecodeCache,
  { cos, sin }: RopeTables,
): void {
  const width = hidden.shape[1];
  const [, rows, kvHeads, headDim] = cache.k.shape;
  const [queries, inner] = [q.shape[1]!, down.shape.at(-2)!];
  const stack = gate ? [gate.shape[1]!] : [];
  const oneRow = cos.rank === 3 ? [1] : [];
  const expected: readonly (readonly [name: string, tensor: tf.Tensor, shape: readonly number[]])[] = [
    ['hidden', hidden, [1, width]],
    ['inputNorm', inputNorm, [width]],
    ['q', q, [width, queries]],
    ['k', k, [width, kvHeads * headDim]],
    ['v', v, [width, kvHeads * headDim]],
    ['o', o, [queries, width]],
    ['postAttentionNorm', postAttentionNorm, [width]],
    ...(gate ? [['gate', gate, [width, gate.shape[1]!]] as const] : []),
    ['gateUp', gateUp, [...stack, width, 2 * inner]],
    ['down', down, [...stack, inner, width]],
    ['cache.k', cache.k, [1, rows, kvHeads, headDim]],
    ['cache.v', cache.v, [1, rows, kvHeads, headDim]],
    ['cos', cos, [...oneRow, 1, headDim / 2]],
    ['sin', sin, [...oneRow, 1, headDim / 2]],
  ];
  for (const [name, { shape, dtype }, wanted] of expected) {
    if (shape.length === wanted.length && wanted.every((size, i) => size === shape[i]) && dtype === 'float32') continue;
    throw new Error(`decodeLayer: ${name} must be float32 [${wanted}], got ${dtype} [${shape}].`);
  }
  if (queries % (kvHeads * headDim) !== 0)
    throw new Error(`decodeLayer: q has ${queries} columns, not a multiple of the cache's [${kvHeads}, ${headDim}].`);
  if (!(Number.isInteger(cache.position) && cache.position >= 0 && cache.position < rows))
    throw new Error(`decodeLayer: position ${cache.position} is outside the cache's ${rows} rows; give it room first.`);
}

function checkChoice(k: number, experts: number): void {
  if (Number.isInteger(k) && k >= 1 && k <= experts) return;
  throw new Error(`decodeLayer: numExpertsPerTok must be a whole number from 1 to ${experts}, got ${k}.`);
}
