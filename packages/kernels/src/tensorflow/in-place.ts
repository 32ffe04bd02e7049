import type * as tf from '@tensorflow/tfjs-core';
import { type DType, FLOAT, type Handle, type RawOps } from './raw-ops.js';

/** The shared name under which every VarHandleOp makes a variable of its own, freed with its handle. */
const ANONYMOUS = 'cd2c89b7-88b7-44c8-ad83-06c2a9158347';

/**
 * Lends the memory of tensors to TensorFlow variables while `write` runs. A variable that is the only owner of its
 * memory is written in place, so the tensors' own handles are given up for that time. Memory that others share, which
 * tfjs does not know of where it is an `Identity` or a `Reshape` of TensorFlow's, is copied first and left as it was.
 *
 * @param view the shape that the variables have meanwhile; default that of the tensors.
 */
export function inPlace(
  ops: RawOps,
  tensors: readonly tf.TensorInfo[],
  write: (variables: Handle[]) => void,
  view?: readonly number[],
): void {
  const held = tensors.map((x) => (view ? ops.reshape(ops.read(x), view) : ops.read(x)));
  const variables = held.map((value) => {
    const variable = ops.run(
      'VarHandleOp',
      [],
      [
        { name: 'container', type: ops.backend.binding.TF_ATTR_STRING, value: '' },
        { name: 'shared_name', type: ops.backend.binding.TF_ATTR_STRING, value: ANONYMOUS },
        { name: 'shape', type: ops.backend.binding.TF_ATTR_SHAPE, value: value.shape },
        ops.type('dtype', value.dtype),
      ],
    );
    assign(ops, variable, value);
    return variable;
  });
  const data = tensors.map(({ dataId }) => ops.backend.tensorMap.get(dataId));
  for (const { id } of data) ops.backend.binding.deleteTensor(id);
  if (view) for (const reshaped of held) ops.free(reshaped);
  try {
    write(variables);
  } finally {
    data.forEach((entry, i) => {
      const written = readVariable(ops, variables[i]!, held[i]!.dtype);
      entry.id = ops.keep(view ? ops.reshape(written, tensors[i]!.shape) : written).id;
    });
  }
}

export function assign(ops: RawOps, variable: Handle, value: Handle): void {
  const attributes = [ops.type('dtype', value.dtype), ops.bool('validate_shape', false)];
  ops.runMany('AssignVariableOp', [variable, value], attributes, 0);
}

export function readVariable(ops: RawOps, variable: Handle, dtype: DType = FLOAT): Handle {
  return ops.run('ReadVariableOp', [variable], [ops.type('dtype', dtype)]);
}
