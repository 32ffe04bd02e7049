import type * as tf from '@tensorflow/tfjs-core';
import type { Operands } from './operands.js';
import { FLOAT, type Handle, type RawOps } from './raw-ops.js';

/** The shared name under which every VarHandleOp makes a variable of its own, freed with its handle. */
const ANONYMOUS = 'cd2c89b7-88b7-44c8-ad83-06c2a9158347';

interface AdamWAttributes {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly decay: number;
  readonly inverseRoot: number;
  readonly gradientScale: number;
}

/** AdamW on TensorFlow's ResourceApplyAdam, one pass over memory, and the sum of squares. */
export function installOptimiser(ops: RawOps, operands: Operands): void {
  ops.register('AdamW', ({ parameter, gradient, firstMoment, secondMoment }, attrs: AdamWAttributes) => {
    const { rate, beta1, beta2, epsilon, decay, inverseRoot, gradientScale } = attrs;
    const scaled = gradientScale === 1 ? ops.read(gradient!) : ops.mul(ops.read(gradient!), ops.float32(gradientScale));
    const written = [parameter!, firstMoment!, secondMoment!];
    inPlace(ops, written, (variables) => {
      if (decay !== 1) assign(ops, variables[0]!, ops.mul(readVariable(ops, variables[0]!), ops.float32(decay)));
      // TensorFlow divides by sqrt(v) + epsilon, AdamW by inverseRoot * sqrt(v) + epsilon. The powers of beta are 0, so it
      // corrects no bias itself.
      const settings = [0, 0, rate / inverseRoot, beta1, beta2, epsilon / inverseRoot].map((x) => ops.float32(x));
      ops.runMany(
        'ResourceApplyAdam',
        [...variables, ...settings, scaled],
        [ops.type('T', FLOAT), ops.bool('use_locking', false), ops.bool('use_nesterov', false)],
        0,
      );
    });
    for (const { dataId } of written) operands.forget(dataId);
    return [];
  });

  ops.register('SumOfSquares', ({ x }) => ops.tensor(ops.mul(ops.run('L2Loss', [ops.read(x!)]), ops.float32(2))));
}

/**
 * Lends the memory of tensors to TensorFlow variables while `write` runs. A variable that is the only owner of its
 * memory is written in place, so the tensors' own handles are given up for that time.
 */
function inPlace(ops: RawOps, tensors: readonly tf.TensorInfo[], write: (variables: Handle[]) => void): void {
  const variables = tensors.map((x) => {
    const variable = ops.run(
      'VarHandleOp',
      [],
      [
        { name: 'container', type: ops.backend.binding.TF_ATTR_STRING, value: '' },
        { name: 'shared_name', type: ops.backend.binding.TF_ATTR_STRING, value: ANONYMOUS },
        { name: 'shape', type: ops.backend.binding.TF_ATTR_SHAPE, value: x.shape },
        ops.type('dtype', FLOAT),
      ],
    );
    assign(ops, variable, ops.read(x));
    return variable;
  });
  const data = tensors.map(({ dataId }) => ops.backend.tensorMap.get(dataId));
  for (const { id } of data) ops.backend.binding.deleteTensor(id);
  try {
    write(variables);
  } finally {
    data.forEach((entry, i) => {
      entry.id = ops.keep(readVariable(ops, variables[i]!)).id;
    });
  }
}

function assign(ops: RawOps, variable: Handle, value: Handle): void {
  const attributes = [ops.type('dtype', FLOAT), ops.bool('validate_shape', false)];
  ops.runMany('AssignVariableOp', [variable, value], attributes, 0);
}

function readVariable(ops: RawOps, variable: Handle): Handle {
  return ops.run('ReadVariableOp', [variable], [ops.type('dtype', FLOAT)]);
}
