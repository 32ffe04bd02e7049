import { assign, inPlace, readVariable } from './in-place.js';
import type { Operands } from './operands.js';
import { FLOAT, type RawOps } from './raw-ops.js';

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
