import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';

/** Numbers of 8 bits, four in an int32, and what they are multiplied by. A type, so that `tf.tidy` can return it. */
export type PackedInt8 = {
  /** int32 `[..., width / 4]`. */
  readonly packed: tf.Tensor;
  /** `[..., 1]`: one number of the integers. */
  readonly scales: tf.Tensor;
};

/** Integers go from -127 to 127. */
const LARGEST = 127;
/** Added to an integer, so that it is a byte without sign. */
const OFFSET = 128;

/**
 * Rounds the last axis to 8 bits by its largest magnitude: `x = scale * q` with whole `q` in [-127, 127] and
 * `scale = max |x| / 127`, so no number moves by more than half a scale (LLM.int8(), arXiv:2208.07339, per vector). No gradient.
 *
 * @param x `[..., width]`, finite.
 * @returns how it is kept; caller disposes both.
 * @throws when `width` is not a multiple of 4.
 */
export function packInt8(x: tf.Tensor): PackedInt8 {
  checkWidth(x);
  if (!hasFusedKernel('PackInt8')) return packPlainly(x);
  const [packed, scales] = runFusedKernel<tf.Tensor[]>('PackInt8', { x });
  return { packed: packed!, scales: scales! };
}

/** The plain form of `packInt8`, same argument and result; not on WebGPU, whose integers tfjs takes through float32. */
export function packInt8Reference(x: tf.Tensor): PackedInt8 {
  checkWidth(x);
  return packPlainly(x);
}

/**
 * The way back of `packInt8`.
 *
 * @param rows how many of the first rows of axis 1 are wanted, where `packed` is `[batch, room, ..., width / 4]`. Absent: all.
 * @returns `[..., width]`. Caller disposes.
 * @throws when shapes or dtypes are not those of `packInt8`, or `rows` are more than there are.
 */
export function unpackInt8({ packed, scales }: PackedInt8, rows?: number): tf.Tensor {
  checkPacked({ packed, scales }, rows);
  if (!hasFusedKernel('UnpackInt8')) return unpackInt8Reference({ packed, scales }, rows);
  return runFusedKernel<tf.Tensor>('UnpackInt8', { packed, scales }, rows === undefined ? {} : { rows });
}

/** The plain form of `unpackInt8`, same arguments and result; not on WebGPU. */
export function unpackInt8Reference({ packed, scales }: PackedInt8, rows?: number): tf.Tensor {
  return tf.tidy(() => {
    const first = (x: tf.Tensor) => (rows === undefined ? x : tf.slice(x, [0, 0], [-1, rows]));
    const [high, lower] = divide(first(packed), 2 ** 16); // both small enough for float32 to hold
    const [fourth, third] = divide(high, 2 ** 8);
    const [second, firsts] = divide(lower, 2 ** 8);
    const lowered = tf.sub(tf.concat([firsts, second, third], -1), tf.scalar(OFFSET, 'int32'));
    return tf.mul(tf.cast(tf.concat([lowered, fourth], -1), 'float32'), first(scales));
  });
}

/** Sizes of `unpackInt8`: of each item, the first `wanted` of `held` vectors of four times `quarter` numbers. */
export function unpackedSizes({ shape }: tf.TensorInfo, rows: number | undefined) {
  const quarter = shape.at(-1)!;
  if (rows === undefined) {
    const held = tf.util.sizeFromShape(shape) / quarter;
    return { batch: 1, held, wanted: held, quarter, shape: [...shape.slice(0, -1), 4 * quarter] };
  }
  const [batch, room, ...inner] = shape as [number, number, ...number[]];
  const vectors = tf.util.sizeFromShape(inner) / quarter;
  const unpacked = [batch, rows, ...inner.slice(0, -1), 4 * quarter];
  return { batch, held: room * vectors, wanted: rows * vectors, quarter, shape: unpacked };
}

/** A whole number through `by`: the quotient, rounded down, and the rest. All int32. */
function divide(x: tf.Tensor, by: number): [tf.Tensor, tf.Tensor] {
  const divisor = tf.scalar(by, 'int32');
  const quotient = tf.floorDiv(x, divisor);
  return [quotient, tf.sub(x, tf.mul(quotient, divisor))];
}

function packPlainly(x: tf.Tensor): PackedInt8 {
  return tf.tidy(() => {
    const scales = tf.div(tf.max(tf.abs(x), -1, true), LARGEST);
    const whole = tf.cast(tf.round(tf.divNoNan(x, scales)), 'int32');
    const [a, b, c, d] = tf.split(whole, 4, -1) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
    const above = (high: tf.Tensor, low: tf.Tensor, by: number) => tf.add(tf.mul(high, tf.scalar(by, 'int32')), low);
    const byte = (q: tf.Tensor) => tf.add(q, tf.scalar(OFFSET, 'int32'));
    const packed = above(above(d, byte(c), 2 ** 8), above(byte(b), byte(a), 2 ** 8), 2 ** 16);
    return { packed, scales };
  });
}

/** Kernels read by address: what does not fit would be read from another tensor's memory. */
function checkPacked({ packed, scales }: PackedInt8, rows: number | undefined): void {
  const shape = [...packed.shape.slice(0, -1), 1];
  if (packed.dtype !== 'int32' || scales.dtype !== 'float32' || scales.shape.join() !== shape.join()) {
    throw new Error(
      `unpackInt8: expected int32 packed and float32 scales [${shape}], got ${packed.dtype} [${packed.shape}] and ${scales.dtype} [${scales.shape}].`,
    );
  }
  const room = packed.shape[1] ?? 0;
  if (rows !== undefined && !(Number.isInteger(rows) && rows >= 0 && rows <= room && packed.rank > 2))
    throw new Error(`unpackInt8: rows must be a whole number from 0 to ${room}, the room of packed, got ${rows}.`);
}

function checkWidth({ shape, dtype }: tf.Tensor): void {
  if (dtype !== 'float32') throw new Error(`packInt8: x must be float32, got ${dtype}; cast it first.`);
  const width = shape.at(-1);
  if (!width || width % 4 !== 0)
    throw new Error(`packInt8: the last axis must be a multiple of 4, got [${shape}]; four numbers share an int32.`);
}
