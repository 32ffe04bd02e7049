import * as tf from '@tensorflow/tfjs-core';
import { chunkedAttention } from './chunked-attention.js';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { type KeyRanges, type Visibility, visibleKeys } from './key-ranges.js';
import { withGradient } from './with-gradient.js';

/** What `flashAttention` needs besides its tensors. */
export interface AttentionOptions extends Visibility {
  /** Factor on the scores, usually `headDim ** -0.5`. */
  readonly scale: number;
  /**
   * `[heads]`: what a key loses in score for each position it lies further back (ALiBi, arXiv:2108.12409). Constant to
   * the tape. Absent: nothing.
   */
  readonly slopes?: readonly number[];
}

/** Whether attention on the active backend reads keys where they lie; elsewhere it copies all of them, seen or not. */
export function readsKeysInPlace(): boolean {
  return hasFusedKernel('FlashAttention') && tf.getBackend() !== 'tensorflow';
}

/**
 * Exact attention with memory linear in the number of keys (FlashAttention, arXiv:2205.14135: recomputed backward, no
 * `[seq, seq]` matrix kept). Grouped-query heads (arXiv:2305.13245) share keys and values without copies. A query that
 * sees no key gives 0, and passes no gradient.
 *
 * @param q `[batch, seq, heads, headDim]`.
 * @param k `[batch, keys, kvHeads, headDim]`, `heads` a multiple of `kvHeads`, `keys >= seq` when causal.
 * @param v the shape of `k`.
 * @returns the shape of `q`. Caller disposes.
 * @throws when head counts, head sizes, lengths, ranges or slopes do not fit.
 */
export function flashAttention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions): tf.Tensor4D {
  const visible = checkAttention(q, k, v, options);
  const { scale, slopes = [] } = options;
  if (q.size === 0 || k.size === 0) return nothing(q, k, v);
  if (!hasFusedKernel('FlashAttention')) return chunkedAttention(q, k, v, { scale, slopes, visible });
  const attrs = { scale, first: visible.first, end: visible.end, slopes: [...slopes] };
  return withGradient(
    [q, k, v],
    // A kernel may give what it computed on the way too, and gets it back in order as `kept0`, `kept1` and so on.
    () => runFusedKernel<tf.Tensor | [tf.Tensor, ...tf.Tensor[]]>('FlashAttention', { q, k, v }, attrs),
    (value, ...rest) => [q, k, v, value, ...rest],
    (dy, [q, k, v, value, ...rest]) => {
      const kept = Object.fromEntries(rest.map((tensor, i) => [`kept${i}`, tensor]));
      const inputs = { dy, q: q!, k: k!, v: v!, value: value!, ...kept };
      return runFusedKernel<tf.Tensor[]>('FlashAttentionGradient', inputs, attrs);
    },
  );
}

/** Without queries or keys there is nothing to mix, and nothing passes back. */
function nothing(...inputs: tf.Tensor4D[]): tf.Tensor4D {
  return withGradient(
    inputs,
    () => tf.zeros(inputs[0]!.shape),
    () => inputs,
    (_, kept) => kept.map((input) => tf.zeros(input.shape)),
  );
}

/**
 * The plain form of `flashAttention`: the whole score matrix, masked and normalised. Same arguments, result and
 * gradient.
 */
export function flashAttentionReference(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  options: AttentionOptions,
): tf.Tensor4D {
  const visible = checkAttention(q, k, v, options);
  const { scale, slopes } = options;
  return tf.tidy(() => {
    const [batch, seq, heads, headDim] = q.shape;
    const [, keys, kvHeads] = k.shape;
    const group = heads / kvHeads;
    // Heads of one group are stacked along the rows, so keys and values need no copies: [batch, kvHeads, group * seq,
    // headDim].
    const queries = tf.reshape(tf.transpose(q, [0, 2, 1, 3]), [batch, kvHeads, group * seq, headDim]);
    const scores = tf.mul(tf.matMul(queries, tf.transpose(k, [0, 2, 1, 3]), false, true), scale);
    const [hidden, sees] = masks(visible, [batch, seq, keys]).map((mask) => tf.tile(mask, [1, 1, group, 1]));
    const masked = tf.add(slopes ? tf.add(scores, slopeBias(slopes, visible, q.shape, k.shape)) : scores, hidden!);
    const shares = tf.mul(tf.softmax(masked), sees!); // a query that sees nothing would share out all it does not see
    const mixed = tf.matMul(shares, tf.transpose(v, [0, 2, 1, 3])); // [batch, kvHeads, group * seq, headDim]
    return tf.transpose(tf.reshape(mixed, [batch, heads, seq, headDim]), [0, 2, 1, 3]) as tf.Tensor4D;
  });
}

/** `[batch, 1, seq, keys]`, 0 where a query sees a key and a large negative number where not; `[batch, 1, seq, 1]`, whether it sees any. */
function masks({ first, end }: KeyRanges, [batch, seq, keys]: [number, number, number]): [tf.Tensor4D, tf.Tensor4D] {
  const hidden = new Float32Array(batch * seq * keys).fill(-1e9);
  const sees = new Float32Array(batch * seq);
  for (let at = 0; at < batch * seq; at++) {
    hidden.fill(0, at * keys + first[at]!, at * keys + end[at]!);
    sees[at] = Number(end[at]! > first[at]!);
  }
  return [tf.tensor4d(hidden, [batch, 1, seq, keys]), tf.tensor4d(sees, [batch, 1, seq, 1])];
}

/** `[batch, kvHeads, group * seq, keys]`: what each key loses by its distance from the last one that the query sees. */
function slopeBias(slopes: readonly number[], { end }: KeyRanges, q: number[], k: number[]): tf.Tensor {
  const [batch, seq, heads] = q as [number, number, number, number];
  const [, keys, kvHeads] = k as [number, number, number, number];
  const last = tf.tensor4d(
    Float32Array.from(end, (one) => one - 1),
    [batch, 1, seq, 1],
  );
  const back = tf.sub(tf.range(0, keys), last); // [batch, 1, seq, keys]
  const bias = tf.mul(back, tf.tensor4d(slopes as number[], [1, heads, 1, 1])); // [batch, heads, seq, keys]
  return tf.reshape(bias, [batch, kvHeads, (heads / kvHeads) * seq, keys]);
}

function checkAttention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: AttentionOptions): KeyRanges {
  const [batch, seq, heads, headDim] = q.shape;
  const [kBatch, keys, kvHeads, kHeadDim] = k.shape;
  for (const [name, { dtype }] of Object.entries({ q, k, v }))
    if (dtype !== 'float32') throw new Error(`flashAttention: ${name} must be float32, got ${dtype}; cast it first.`);
  if (k.shape.join() !== v.shape.join()) {
    throw new Error(`flashAttention: k and v must have one shape, got [${k.shape}] and [${v.shape}].`);
  }
  if (batch !== kBatch || headDim !== kHeadDim) {
    throw new Error(`flashAttention: q [${q.shape}] and k [${k.shape}] must agree in batch and headDim.`);
  }
  if (heads % kvHeads !== 0) {
    throw new Error(
      `flashAttention: ${heads} heads cannot share ${kvHeads} key-value heads evenly; use a divisor of ${heads}.`,
    );
  }
  checkSlopes(options, heads);
  return visibleKeys(options, { batch, seq, keys });
}

/** Softmax does not see what all scores of a query have in common, so only the distance to its last key counts. */
function checkSlopes({ slopes, causal, ranges }: AttentionOptions, heads: number): void {
  if (!slopes) return;
  if (slopes.length !== heads || slopes.some((slope) => !Number.isFinite(slope)))
    throw new Error(`flashAttention: slopes must be ${heads} finite numbers, one per head, got [${slopes}].`);
  if (!causal && !ranges)
    throw new Error('flashAttention: slopes count back from each query, so they need causal or ranges; set one.');
}
