import * as tf from '@tensorflow/tfjs-core';
import { checkFrozen, type FrozenMatrix, frozenInputs, packedWords, refuseWebGpu } from './frozen-matrix.js';
import { hasFusedKernel, runFusedKernel } from './fused-kernel.js';
import { thawedValues } from './thawed-values.js';
import { withGradient } from './with-gradient.js';

/**
 * A frozen weight as float32, in our orientation: exact for halves, scale times whole number for int8. A constant to the tape.
 *
 * @returns `[inputSize, outputSize]`, or `[experts, inputSize, outputSize]`. Caller disposes.
 * @throws when the parts of `frozen` do not fit each other.
 */
export function thaw(frozen: FrozenMatrix): tf.Tensor {
  checkFrozen('thaw', frozen, [2, 3]);
  const swapped = frozen.packed.rank === 2 ? [1, 0] : [0, 2, 1];
  return constant(() => tf.transpose(thawRows('thaw', frozen), swapped));
}

/**
 * Rows of a frozen embedding by number. A constant to the tape.
 *
 * @param frozen `[vocab, hidden]`: a row for each id.
 * @param ids int32 of any shape, each in `[0, vocab)`. On wasm and cpu an id outside is an error; check ids where text
 *   becomes ids, since a GPU reads zeros there.
 * @returns `[...ids.shape, inputSize]`. Caller disposes.
 */
export function frozenRows(frozen: FrozenMatrix, ids: tf.Tensor): tf.Tensor {
  checkFrozen('frozenRows', frozen, [2]);
  if (ids.dtype !== 'int32') throw new Error(`frozenRows: ids must be int32, got ${ids.dtype}; cast them.`);
  const shape = [...ids.shape, frozen.inputSize];
  if (ids.size === 0) return tf.zeros(shape);
  return constant(() => {
    const flat = tf.reshape(ids, [-1]);
    return tf.reshape(takeRows(frozen, flat), shape);
  });
}

/**
 * All rows of a frozen matrix as they lie.
 *
 * Kernel `ThawRows`: inputs `packed`, `scales` of int8, and perhaps `ids` int32 `[count]`; attributes `dtype` and
 * `inputSize`; output float32 `[...packed.shape[..-1], inputSize]`, or `[count, inputSize]` with ids.
 *
 * @returns `[..., outputSize, inputSize]`. Caller disposes.
 */
export function thawRows(where: string, frozen: FrozenMatrix): tf.Tensor {
  const { dtype, inputSize } = frozen;
  if (hasFusedKernel('ThawRows')) return runFusedKernel('ThawRows', frozenInputs(frozen), { dtype, inputSize });
  refuseWebGpu(where);
  return thawPlainly(frozen);
}

function takeRows(frozen: FrozenMatrix, ids: tf.Tensor): tf.Tensor {
  const { dtype, inputSize, packed, scales } = frozen;
  if (hasFusedKernel('ThawRows')) {
    return runFusedKernel('ThawRows', { ...frozenInputs(frozen), ids }, { dtype, inputSize });
  }
  refuseWebGpu('frozenRows');
  const taken = { dtype, inputSize, packed: tf.gather(packed, ids) };
  return thawPlainly(scales ? { ...taken, scales: tf.gather(scales, ids) } : taken);
}

function thawPlainly({ dtype, inputSize, packed, scales }: FrozenMatrix): tf.Tensor {
  const outer = packed.shape.slice(0, -1);
  const rows = tf.util.sizeFromShape(outer);
  const values = thawedValues(packedWords(packed), rows, inputSize, dtype, scales?.dataSync<'float32'>());
  return tf.tensor(values, [...outer, inputSize]);
}

/** What no gradient goes through. */
function constant(make: () => tf.Tensor): tf.Tensor {
  return withGradient(
    [],
    make,
    () => [],
    () => [],
  );
}
