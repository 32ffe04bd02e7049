import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { checkOffsetCount, type GroupOffsets, offsetsOnDevice, offsetsOnHost } from './group-offsets.js';

/**
 * One product per group of rows: rows `offsets[e] .. offsets[e + 1]` of `x` are multiplied by `weights[e]`. This is the
 * dropless Mixture-of-Experts product (MegaBlocks, arXiv:2211.15841) on rows sorted by expert; no row is padded or
 * dropped. Rows from the last offset on belong to no group and give zeros.
 *
 * Offsets may be a tensor, constant to the tape. On WebGPU it is read on the device alone and not checked; an offset
 * outside the rows counts as the nearest inside. Elsewhere it is read at once.
 *
 * @param x `[rows, in]`, sorted by group.
 * @param weights `[experts, in, out]`, or `[experts, out, in]` with `transposeWeights`.
 * @param offsets `experts + 1` ascending row numbers from 0 to at most `rows`; a tensor is int32 `[experts + 1]`.
 * @returns `[rows, out]` float32. Caller disposes.
 * @throws when shapes disagree or the offsets do not ascend from 0 to at most `rows`.
 */
export function groupedMatMul(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  offsets: GroupOffsets,
  transposeWeights = false,
): tf.Tensor2D {
  checkShapes(x, weights, offsets, transposeWeights);
  if (hasFusedKernel('GroupedMatMulOnDevice')) {
    return tf.tidy(() =>
      runFusedKernel(
        'GroupedMatMulOnDevice',
        { x, weights, offsets: offsetsOnDevice('groupedMatMul', offsets, x.shape[0]) },
        { transposeWeights },
      ),
    );
  }
  const onHost = offsetsOnHost('groupedMatMul', offsets, x.shape[0]);
  if (!hasFusedKernel('GroupedMatMul')) return groupedMatMulReference(x, weights, onHost, transposeWeights);
  return runFusedKernel('GroupedMatMul', { x, weights }, { offsets: onHost, transposeWeights });
}

/**
 * The gradient of the kernel whose offsets are an attribute. Registered by name rather than through `tf.customGrad`,
 * because then tfjs asks for the weights' share only when the weights are trained: frozen experts cost no outer product.
 */
export const groupedMatMulGradient: tf.GradConfig = {
  kernelName: 'GroupedMatMul',
  inputsToSave: ['x', 'weights'],
  gradFunc: (dy, saved, attrs) => {
    const [x, weights] = saved as [tf.Tensor, tf.Tensor];
    const { offsets, transposeWeights } = attrs as unknown as { offsets: number[]; transposeWeights: boolean };
    const grad = dy as tf.Tensor;
    return {
      x: () =>
        runFusedKernel<tf.Tensor>(
          'GroupedMatMul',
          { x: grad, weights },
          { offsets, transposeWeights: !transposeWeights },
        ),
      weights: () => {
        const [a, b] = transposeWeights ? [grad, x] : [x, grad];
        return runFusedKernel<tf.Tensor>('GroupedOuterProduct', { a, b }, { offsets });
      },
    };
  },
};

/** The gradient of the kernel whose offsets are a tensor on the device. */
export const groupedMatMulOnDeviceGradient: tf.GradConfig = {
  kernelName: 'GroupedMatMulOnDevice',
  inputsToSave: ['x', 'weights', 'offsets'],
  gradFunc: (dy, saved, attrs) => {
    const [x, weights, offsets] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
    const { transposeWeights } = attrs as unknown as { transposeWeights: boolean };
    const grad = dy as tf.Tensor;
    return {
      x: () =>
        runFusedKernel<tf.Tensor>(
          'GroupedMatMulOnDevice',
          { x: grad, weights, offsets },
          { transposeWeights: !transposeWeights },
        ),
      weights: () => {
        const [a, b] = transposeWeights ? [grad, x] : [x, grad];
        return runFusedKernel<tf.Tensor>('GroupedOuterProductOnDevice', { a, b, offsets });
      },
    };
  },
};

/**
 * The plain form of `groupedMatMul`: a slice and a product per group, joined again. Same arguments (offsets on the
 * host), result and gradient.
 */
export function groupedMatMulReference(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  offsets: readonly number[],
  transposeWeights = false,
): tf.Tensor2D {
  return tf.tidy(() => {
    const products: tf.Tensor2D[] = [];
    for (let e = 0; e + 1 < offsets.length; e++) {
      const rows = offsets[e + 1]! - offsets[e]!;
      if (rows === 0) continue;
      const weight = tf.reshape(tf.slice(weights, [e, 0, 0], [1, -1, -1]), weights.shape.slice(1) as [number, number]);
      products.push(tf.matMul(tf.slice(x, [offsets[e]!, 0], [rows, -1]), weight, false, transposeWeights));
    }
    const ungrouped = x.shape[0] - offsets.at(-1)!;
    if (ungrouped > 0 || products.length === 0) {
      products.push(tf.zeros([ungrouped, weights.shape[transposeWeights ? 1 : 2]]));
    }
    return products.length === 1 ? products[0]! : tf.concat2d(products, 0);
  });
}

function checkShapes(x: tf.Tensor2D, weights: tf.Tensor3D, offsets: GroupOffsets, transposeWeights: boolean): void {
  const experts = weights.shape[0];
  const expectedInput = weights.shape[transposeWeights ? 2 : 1];
  if (x.shape[1] !== expectedInput) {
    throw new Error(
      `groupedMatMul: x must be [rows, ${expectedInput}] for weights [${weights.shape}], got [${x.shape}].`,
    );
  }
  checkOffsetCount('groupedMatMul', offsets, experts);
}
