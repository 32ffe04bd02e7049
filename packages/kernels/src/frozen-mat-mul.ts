import * as tf from '@tensorflow/tfjs-core';
import { float32Products, inFloat32 } from './float32-products.js';
import { checkFrozen, type FrozenMatrix, frozenInputs } from './frozen-matrix.js';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { checkOffsetCount, type GroupOffsets, offsetsOnDevice, offsetsOnHost } from './group-offsets.js';
import { groupedMatMulReference } from './grouped-mat-mul.js';
import { matMul } from './mat-mul.js';
import { thawRows } from './thaw.js';
import { withGradient } from './with-gradient.js';

/**
 * `x` times a frozen weight, the weight thawed where it is multiplied. Sums in float32; where products are rounded to
 * bfloat16, `x` is too. The gradient is that of `x` alone.
 *
 * Kernel `FrozenMatMul`: inputs `x` `[rows, inputSize]`, `packed`, `scales` of int8; attributes `dtype`, `inputSize` and
 * `backward`; output `[rows, outputSize]`. With `backward`, `x` is a gradient `[rows, outputSize]` and the output
 * `[rows, inputSize]`: the product with the rows of the weight as they lie.
 *
 * @param x `[..., inputSize]`.
 * @param frozen a weight `[outputSize, words]`.
 * @returns `[..., outputSize]`. Caller disposes.
 * @throws when the parts of `frozen` do not fit each other, or `x` does not fit them.
 */
export function frozenMatMul(x: tf.Tensor, frozen: FrozenMatrix): tf.Tensor {
  checkFrozen('frozenMatMul', frozen, [2]);
  checkInput('frozenMatMul', x, frozen);
  const shape = [...x.shape.slice(0, -1), frozen.packed.shape[0]!];
  if (x.size === 0) return tf.zeros(shape);
  return tf.tidy(() => {
    const rows = x.rank === 2 ? x : tf.reshape(x, [-1, frozen.inputSize]);
    const y = towardsInput(rows, frozen, [], (rows, weight, backward) => product(rows, weight, backward));
    return x.rank === 2 ? y : tf.reshape(y, shape);
  });
}

/**
 * One product per group of rows with the frozen weight of its expert, as `groupedMatMul`. The gradient is that of `x` alone.
 *
 * Kernel `GroupedFrozenMatMul`: as `FrozenMatMul`, with weights of all experts and the attribute `offsets`; or
 * `GroupedFrozenMatMulOnDevice`, where `offsets` is an input that may not be read on the host (WebGPU).
 *
 * @param x `[rows, inputSize]`, sorted by group.
 * @param frozen weights `[experts, outputSize, words]`.
 * @param offsets `experts + 1` ascending row numbers from 0 to at most `rows`; a tensor is int32 `[experts + 1]`.
 * @returns `[rows, outputSize]`; rows of no group are zero. Caller disposes.
 * @throws when the parts of `frozen` do not fit each other, or the others do not fit them.
 */
export function groupedFrozenMatMul(x: tf.Tensor2D, frozen: FrozenMatrix, offsets: GroupOffsets): tf.Tensor2D {
  const where = 'groupedFrozenMatMul';
  checkFrozen(where, frozen, [3]);
  checkInput(where, x, frozen);
  const [experts, outputSize] = frozen.packed.shape as [number, number];
  checkOffsetCount(where, offsets, experts);
  if (x.size === 0) return tf.zeros([x.shape[0], outputSize]);
  return tf.tidy(() => {
    if (hasFusedKernel('GroupedFrozenMatMulOnDevice')) {
      const onDevice = offsetsOnDevice(where, offsets, x.shape[0]);
      return towardsInput(x, frozen, [onDevice], groupedOnDevice) as tf.Tensor2D;
    }
    const onHost = offsetsOnHost(where, offsets, x.shape[0]);
    return towardsInput(x, frozen, [], (rows, weight, backward) =>
      grouped(rows, weight, backward, onHost),
    ) as tf.Tensor2D;
  });
}

type Product = (rows: tf.Tensor, weight: FrozenMatrix, backward: boolean, ...rest: tf.Tensor[]) => tf.Tensor;

/** A product whose backward pass is the same product in the other direction, for `x` alone. */
function towardsInput(x: tf.Tensor, frozen: FrozenMatrix, rest: readonly tf.Tensor[], multiply: Product): tf.Tensor {
  const { dtype, inputSize } = frozen;
  const inputs = Object.values(frozenInputs(frozen));
  const exact = inFloat32();
  return withGradient(
    [x],
    () => multiply(x, frozen, false, ...rest),
    () => [...inputs, ...rest],
    (dy, kept) => {
      const [packed, ...others] = kept as [tf.Tensor, ...tf.Tensor[]];
      const weight =
        dtype === 'int8' ? { dtype, inputSize, packed, scales: others.shift()! } : { dtype, inputSize, packed };
      const backward = () => multiply(dy, weight, true, ...others);
      return exact ? float32Products(backward) : backward();
    },
  );
}

function product(x: tf.Tensor, frozen: FrozenMatrix, backward: boolean): tf.Tensor {
  const { dtype, inputSize } = frozen;
  if (hasFusedKernel('FrozenMatMul')) {
    return runFusedKernel('FrozenMatMul', { x, ...frozenInputs(frozen) }, { dtype, inputSize, backward });
  }
  return tf.tidy(() => matMul(x, thawRows('frozenMatMul', frozen), false, !backward));
}

function grouped(x: tf.Tensor, frozen: FrozenMatrix, backward: boolean, offsets: number[]): tf.Tensor {
  const { dtype, inputSize } = frozen;
  if (hasFusedKernel('GroupedFrozenMatMul')) {
    return runFusedKernel(
      'GroupedFrozenMatMul',
      { x, ...frozenInputs(frozen) },
      { dtype, inputSize, backward, offsets },
    );
  }
  return tf.tidy(() => {
    const weights = thawRows('groupedFrozenMatMul', frozen) as tf.Tensor3D;
    return groupedMatMulReference(x as tf.Tensor2D, weights, offsets, !backward);
  });
}

function groupedOnDevice(x: tf.Tensor, frozen: FrozenMatrix, backward: boolean, offsets?: tf.Tensor): tf.Tensor {
  const { dtype, inputSize } = frozen;
  const inputs = { x, ...frozenInputs(frozen), offsets: offsets! };
  return runFusedKernel('GroupedFrozenMatMulOnDevice', inputs, { dtype, inputSize, backward });
}

function checkInput(where: string, x: tf.Tensor, { inputSize }: FrozenMatrix): void {
  if (x.dtype !== 'float32') throw new Error(`${where}: x must be float32, got ${x.dtype}; cast it first.`);
  if (x.shape.at(-1) !== inputSize) {
    throw new Error(`${where}: x must be [..., ${inputSize}] for ${inputSize} weights a row, got [${x.shape}].`);
  }
}
