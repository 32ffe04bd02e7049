import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { withGradient } from './with-gradient.js';

/**
 * Where the two values of pair i lie in a head: `half-split` at i and `i + headDim / 2` (Hugging Face's Llama and
 * Mistral), `interleaved` at `2 i` and `2 i + 1` (RoFormer's own, GPT-J, DeepSeek-V3's `rope_interleave`).
 */
export type RotaryLayout = 'half-split' | 'interleaved';

/** Cosines and sines of the positions of a pass, constant to the tape. */
export interface RopeTables {
  /** `[seq, headDim / 2]`, or `[batch, seq, headDim / 2]` where rows stand at positions of their own. */
  readonly cos: tf.Tensor2D | tf.Tensor3D;
  /** The shape of `cos`. */
  readonly sin: tf.Tensor2D | tf.Tensor3D;
  /** Absent: `half-split`. */
  readonly layout?: RotaryLayout;
}

/**
 * Rotary position embedding (RoFormer, arXiv:2104.09864, eq. 34): every pair of every head turns by its position's
 * angle. The gradient is the turn back.
 *
 * @param x `[batch, seq, heads, headDim]`.
 * @returns the shape of `x`. Caller disposes.
 * @throws when the tables do not match `batch`, `seq` and `headDim`.
 */
export function rotate(x: tf.Tensor4D, tables: RopeTables): tf.Tensor4D {
  checkTables(x, tables);
  if (!hasFusedKernel('Rotate')) return rotateReference(x, tables);
  const { cos, sin, layout = 'half-split' } = tables;
  const interleaved = layout === 'interleaved';
  return withGradient(
    [x],
    () => runFusedKernel('Rotate', { x, cos, sin }, { direction: 1, interleaved }),
    () => [cos, sin],
    (dy, [cos, sin]) =>
      runFusedKernel('Rotate', { x: dy, cos: cos!, sin: sin! }, { direction: -1, interleaved }) as tf.Tensor,
  );
}

/** The plain form of `rotate`. Same arguments, result and gradient. */
export function rotateReference(x: tf.Tensor4D, { cos, sin, layout = 'half-split' }: RopeTables): tf.Tensor4D {
  const [, seq, , headDim] = x.shape;
  return tf.tidy(() => {
    const [a, b] = splitPairs(x, layout);
    const [c, s] = [cos, sin].map((table) => tf.reshape(table, [-1, seq, 1, headDim / 2])) as [tf.Tensor, tf.Tensor];
    return joinPairs(tf.sub(tf.mul(a, c), tf.mul(b, s)), tf.add(tf.mul(b, c), tf.mul(a, s)), layout);
  });
}

/** The first and the second values of all pairs, each `[batch, seq, heads, headDim / 2]`. */
function splitPairs(x: tf.Tensor4D, layout: RotaryLayout): [tf.Tensor, tf.Tensor] {
  if (layout === 'half-split') return tf.split(x, 2, 3) as [tf.Tensor, tf.Tensor];
  const [batch, seq, heads, headDim] = x.shape;
  const shape = [batch, seq, heads, headDim / 2];
  const halves = tf.split(tf.reshape(x, [...shape, 2]), 2, 4);
  return halves.map((half) => tf.reshape(half, shape)) as [tf.Tensor, tf.Tensor];
}

function joinPairs(a: tf.Tensor, b: tf.Tensor, layout: RotaryLayout): tf.Tensor4D {
  if (layout === 'half-split') return tf.concat([a, b], 3) as tf.Tensor4D;
  const [batch, seq, heads, half] = a.shape as [number, number, number, number];
  return tf.reshape(tf.stack([a, b], 4), [batch, seq, heads, 2 * half]) as tf.Tensor4D;
}

function checkTables(x: tf.Tensor4D, { cos, sin }: RopeTables): void {
  const [batch, seq, , headDim] = x.shape;
  for (const [name, { dtype }] of Object.entries({ x, cos, sin }))
    if (dtype !== 'float32') throw new Error(`rotate: ${name} must be float32, got ${dtype}; cast it first.`);
  if (headDim % 2 !== 0)
    throw new Error(`rotate: headDim must be even, got x [${x.shape}]; rotary positions turn pairs of values.`);
  const shapes = [
    [seq, headDim / 2],
    [batch, seq, headDim / 2],
  ];
  for (const [name, { shape }] of Object.entries({ cos, sin })) {
    if (shape.length === cos.rank && shapes.some((wanted) => wanted.join() === shape.join())) continue;
    throw new Error(
      `rotate: ${name} must be [${shapes[0]}] or [${shapes[1]}]${name === 'sin' ? ' as cos is' : ''} for x [${x.shape}], got [${shape}].`,
    );
  }
}
