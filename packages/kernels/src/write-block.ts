import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { isOnlyOwner } from './is-only-owner.js';

/** Where a block begins in a stack of matrices `[..., rows, columns]`. */
export interface BlockPlace {
  /** Which matrix of the stack, counted over all leading dimensions. */
  readonly matrix: number;
  readonly row: number;
  readonly column: number;
}

/** 16-bit floats as files store them, two to an int32. A type, so that `tf.dispose` takes it. */
export type HalfBlock = {
  readonly dtype: 'bfloat16' | 'float16';
  readonly shape: readonly [height: number, width: number];
  /** int32 `[ceil(height * width / 2)]`, row by row, the first value in the lower half. */
  readonly words: tf.Tensor1D;
};

/** What the kernels of a block of 16-bit floats are told. */
export interface HalvesPlace extends BlockPlace {
  readonly shape: HalfBlock['shape'];
  /** Whether the block's rows become columns. */
  readonly transposed: boolean;
  readonly bfloat16: boolean;
}

/** Whether the active backend has kernels for these ops: they write in place, and take a `HalfBlock`. */
export function writesBlocks(): boolean {
  return hasFusedKernel('WriteBlock') && hasFusedKernel('WriteHalves');
}

/**
 * Writes a block into one matrix of a stack: in place, where the backend has a kernel for it and no other tensor shares
 * the memory; not on cpu. For filling weights piece by piece: it has no gradient.
 *
 * @param target float32 `[..., rows, columns]`.
 * @param block float32 `[height, width]`, or where `writesBlocks()` 16-bit floats, which are widened on the way, exactly;
 *   not disposed.
 * @returns the tensor that holds all of it from now on: `target` itself, or a new one, and then the caller disposes both.
 * @throws when the block would go outside of the matrix.
 */
export function writeBlock<T extends tf.Tensor>(target: T, block: tf.Tensor2D | HalfBlock, place: BlockPlace): T {
  return write(target, block, place, false);
}

/**
 * The same for the transpose of a block: its rows become columns of the target.
 *
 * @param block `[width, height]`, of the same types; not disposed.
 */
export function writeTransposed<T extends tf.Tensor>(target: T, block: tf.Tensor2D | HalfBlock, place: BlockPlace): T {
  return write(target, block, place, true);
}

/** The plain form of `writeBlock`: always a new tensor, which the caller disposes. Same arguments and values. */
export function writeBlockReference<T extends tf.Tensor>(target: T, block: tf.Tensor2D, place: BlockPlace): T {
  checkBlock(target, block, place, block.shape);
  const { matrix, row, column } = place;
  return tf.tidy(() => {
    const stack = tf.reshape(target, [-1, ...target.shape.slice(-2)]);
    const band = (x: tf.Tensor, axis: number, start: number, size: number) =>
      tf.slice(x, onAxis(axis, start, 0), onAxis(axis, size, -1));
    const put = (x: tf.Tensor, axis: number, start: number, part: tf.Tensor) => {
      const end = start + part.shape[axis]!;
      return tf.concat([band(x, axis, 0, start), part, band(x, axis, end, x.shape[axis]! - end)], axis);
    };
    const [height, width] = block.shape;
    const whole = band(stack, 0, matrix, 1);
    const rows = put(band(whole, 1, row, height), 2, column, tf.reshape(block, [1, height, width]));
    return tf.reshape(put(stack, 0, matrix, put(whole, 1, row, rows)), target.shape) as T;
  });
}

function onAxis(axis: number, value: number, others: number): [number, number, number] {
  return [0, 1, 2].map((each) => (each === axis ? value : others)) as [number, number, number];
}

function write<T extends tf.Tensor>(
  target: T,
  block: tf.Tensor2D | HalfBlock,
  place: BlockPlace,
  transposed: boolean,
): T {
  const [height, width] = block.shape;
  checkBlock(target, block, place, transposed ? [width, height] : [height, width]);
  if (height * width === 0) return target;
  if ('words' in block) return writeHalves(target, block, { ...place, transposed });
  if (!hasFusedKernel('WriteBlock') || !isOnlyOwner(target))
    return tf.tidy(() => writeBlockReference(target, transposed ? tf.transpose(block) : block, place));
  runFusedKernel<tf.Tensor[]>('WriteBlock', { target, block }, { ...place, transposed });
  return target;
}

function writeHalves<T extends tf.Tensor>(
  target: T,
  { words, dtype, shape }: HalfBlock,
  place: BlockPlace & { transposed: boolean },
): T {
  if (!hasFusedKernel('WriteHalves')) {
    throw new Error(
      `writeBlock: the backend '${tf.getBackend()}' has no kernel for ${dtype}; widen the block to float32 on the host.`,
    );
  }
  const own = isOnlyOwner(target) ? target : (tf.mul(target, 1) as T);
  const attributes: HalvesPlace = { ...place, shape, bfloat16: dtype === 'bfloat16' };
  runFusedKernel<tf.Tensor[]>('WriteHalves', { target: own, words }, { ...attributes });
  return own;
}

/** Kernels write by address: what does not fit would be written into another tensor's memory. */
function checkBlock(
  target: tf.Tensor,
  block: tf.Tensor | HalfBlock,
  { matrix, row, column }: BlockPlace,
  [height, width]: readonly number[],
): void {
  const isBlock = 'words' in block ? holdsAll(block) : block.rank === 2 && block.dtype === 'float32';
  if (target.rank < 2 || target.dtype !== 'float32' || !isBlock) {
    const words = 'words' in block ? ` in ${block.words.dtype} [${block.words.shape}]` : '';
    throw new Error(
      `writeBlock: target must be float32 [..., rows, columns] and block float32 [height, width] or as many 16-bit floats in int32 [ceil(height * width / 2)], got ${target.dtype} [${target.shape}] and ${block.dtype} [${block.shape}]${words}.`,
    );
  }
  const [rows, columns] = target.shape.slice(-2) as [number, number];
  const matrices = tf.util.sizeFromShape(target.shape.slice(0, -2));
  const fits = (start: number, size: number, room: number) =>
    Number.isInteger(start) && start >= 0 && start + size <= room;
  if (!fits(matrix, 1, matrices) || !fits(row, height!, rows) || !fits(column, width!, columns)) {
    throw new Error(
      `writeBlock: ${height} rows and ${width} columns from row ${row} and column ${column} of matrix ${matrix} do not fit ${matrices} matrices of [${rows}, ${columns}].`,
    );
  }
}

function holdsAll({ dtype, shape: [height, width], words }: HalfBlock): boolean {
  const isHalf = dtype === 'bfloat16' || dtype === 'float16';
  return isHalf && words.dtype === 'int32' && words.rank === 1 && words.size === Math.ceil((height * width) / 2);
}
