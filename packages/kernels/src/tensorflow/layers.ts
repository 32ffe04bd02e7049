import type * as tf from '@tensorflow/tfjs-core';
import { type Handle, INT32, type RawOps } from './raw-ops.js';

interface RotateAttributes {
  readonly direction: number;
  readonly interleaved: boolean;
}

/** Normalisation, gated activation and rotary positions, each in few passes. */
export function installLayers(ops: RawOps): void {
  ops.register('RmsNorm', ({ x, weight }, { epsilon }: { epsilon: number }) => {
    const rows = ops.read(x!);
    const scaled = ops.mul(rows, inverseRms(ops, rows, epsilon));
    return ops.tensor(ops.mul(scaled, ops.read(weight!)));
  });

  ops.register('RmsNormGradient', ({ dy, x, weight }, { epsilon }: { epsilon: number }) => {
    const width = weight!.shape[0]!;
    const [gradient, rows] = [dy!, x!].map((t) => ops.reshape(ops.read(t), [-1, width])) as [Handle, Handle];
    const scale = ops.read(weight!);
    const inverse = inverseRms(ops, rows, epsilon); // [rows, 1]
    const products = ops.mul(gradient, rows);
    const dWeight = ops.reshape(ops.matMul(inverse, products, true), [width]);
    const along = ops.matMul(products, ops.reshape(scale, [width, 1])); // [rows, 1]
    const cube = ops.mul(ops.run('Square', [inverse]), ops.mul(inverse, ops.float32(1 / width)));
    const dx = ops.sub(ops.mul(ops.mul(gradient, scale), inverse), ops.mul(rows, ops.mul(cube, along)));
    return [ops.tensor(ops.reshape(dx, x!.shape)), ops.tensor(dWeight)];
  });

  ops.register('SwiGlu', ({ x }) => {
    const [gate, up] = ops.split(ops.read(x!), 2, 1) as [Handle, Handle];
    return ops.tensor(ops.mul(ops.mul(gate, ops.run('Sigmoid', [gate])), up));
  });

  ops.register('SwiGluGradient', ({ dy, x }) => {
    const gradient = ops.read(dy!);
    const [gate, up] = ops.split(ops.read(x!), 2, 1) as [Handle, Handle];
    const sigmoid = ops.run('Sigmoid', [gate]);
    const dUp = ops.mul(gradient, ops.mul(gate, sigmoid));
    const slope = ops.add(sigmoid, ops.run('SigmoidGrad', [sigmoid, gate])); // of silu
    return ops.tensor(ops.concat([ops.mul(ops.mul(gradient, up), slope), dUp], 1));
  });

  // The two values of a pair lie along one axis of five.
  ops.register('Rotate', ({ x, cos, sin }, { direction, interleaved }: RotateAttributes) => {
    const [batch, seq, heads, headDim] = x!.shape as [number, number, number, number];
    const half = headDim / 2;
    const axis = interleaved ? 4 : 3;
    const table = (of: tf.TensorInfo) =>
      ops.reshape(ops.read(of), [-1, seq, 1, ...(interleaved ? [half, 1] : [1, half])]);
    const spread = (each: Handle, times: readonly number[]) =>
      ops.run('Tile', [each, ops.int32(times)], [ops.type('T', each.dtype), ops.type('Tmultiples', INT32)]);
    const cosines = spread(table(cos!), [1, 1, heads, ...(interleaved ? [1, 2] : [2, 1])]);
    const sines = table(sin!);
    const turned = ops.run('Neg', [sines]);
    const signed = spread(ops.concat(direction === 1 ? [turned, sines] : [sines, turned], axis), [1, 1, heads, 1, 1]);
    const pairs = ops.reshape(ops.read(x!), [batch, seq, heads, ...(interleaved ? [half, 2] : [2, half])]);
    const swapped = ops.run(
      'Roll',
      [pairs, ops.int32(1), ops.int32(axis)],
      [ops.type('T', pairs.dtype), ops.type('Tshift', INT32), ops.type('Taxis', INT32)],
    );
    return ops.tensor(ops.reshape(ops.add(ops.mul(pairs, cosines), ops.mul(swapped, signed)), x!.shape));
  });
}

/** `1 / sqrt(mean(x^2) + epsilon)` of every row, the last dimension kept as 1. */
function inverseRms(ops: RawOps, x: Handle, epsilon: number): Handle {
  const norm = ops.reduce('EuclideanNorm', x, -1);
  const mean = ops.mul(ops.run('Square', [norm]), ops.float32(1 / x.shape.at(-1)!));
  return ops.run('Rsqrt', [ops.add(mean, ops.float32(epsilon))]);
}
