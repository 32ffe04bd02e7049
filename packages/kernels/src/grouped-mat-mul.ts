import * as tf from '@tensorflow/tfjs-core';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';

/**
 * One product per group of rows: rows `offsets[e] .. offsets[e + 1]` of `x` are multiplied by `weights[e]`. This is the
 * dropless Mixture-of-Experts product (MegaBlocks, arXiv:2211.15841) on rows sorted by expert; no row is padded or
 * dropped.
 *
 * @param x `[rows, in]`, sorted by group.
 * @param weights `[experts, in, out]`, or `[experts, out, in]` with `transposeWeights`.
 * @param groupOffsets `experts + 1` ascending row numbers from 0 to `rows`, or the same as int32 `[experts + 1]`.
 * @returns `[rows, out]` float32. Caller disposes.
 * @throws when shapes disagree or the offsets do not ascend from 0 to `rows`.
 */
export function groupedMatMul(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  groupOffsets: readonly number[] | tf.Tensor1D,
  transposeWeights = false,
): tf.Tensor2D {
  const offsets = 'dataId' in groupOffsets ? [...groupOffsets.dataSync()] : groupOffsets;
  checkGroups(x, weights, offsets, transposeWeights);
  if (!hasFusedKernel('GroupedMatMul')) return groupedMatMulReference(x, weights, offsets, transposeWeights);
  return runFusedKernel('GroupedMatMul', { x, weights }, { offsets: [...offsets], transposeWeights });
}

/**
 * The gradient of the fused kernel. Registered by name rather than through `tf.customGrad`, because then tfjs asks for
 * the weights' share only when the weights are trained: frozen experts cost no outer product.
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

/**
 * The plain form of `groupedMatMul`: a slice and a product per group, joined again. Same arguments, result and
 * gradient.
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
    if (products.length === 0) return tf.zeros([0, weights.shape[transposeWeights ? 1 : 2]]);
    return products.length === 1 ? products[0]! : tf.concat2d(products, 0);
  });
}

function checkGroups(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  offsets: readonly number[],
  transposeWeights: boolean,
): void {
  const [rows, inputSize] = x.shape;
  const experts = weights.shape[0];
  const expectedInput = weights.shape[transposeWeights ? 2 : 1];
  if (inputSize !== expectedInput) {
    throw new Error(
      `groupedMatMul: x must be [rows, ${expectedInput}] for weights [${weights.shape}], got [${x.shape}].`,
    );
  }
  if (offsets.length !== experts + 1) {
    throw new Error(`groupedMatMul: offsets must have experts + 1 = ${experts + 1} entries, got ${offsets.length}.`);
  }
  if (offsets[0] !== 0 || offsets[experts] !== rows || offsets.some((o, i) => i > 0 && o < offsets[i - 1]!)) {
    throw new Error(`groupedMatMul: offsets must ascend from 0 to ${rows} rows, got [${offsets}].`);
  }
}
