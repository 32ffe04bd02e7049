import type * as tf from '@tensorflow/tfjs-core';
import { COMPLEX64, FLOAT, type Handle, INT32, type RawOps } from './raw-ops.js';

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
    const sigmoid = ops.run('Sigmoid', [gate]);
    const value = ops.mul(ops.mul(gate, sigmoid), up);
    return [value, gate, up, sigmoid].map((handle) => ops.tensor(handle));
  });

  ops.register('SwiGluGradient', (inputs) => {
    const [gradient, gate, up, sigmoid] = ['dy', 'gate', 'up', 'sigmoid'].map((name) => ops.read(inputs[name]!)) as [
      Handle,
      Handle,
      Handle,
      Handle,
    ];
    const dUp = ops.mul(gradient, ops.mul(gate, sigmoid));
    const slope = ops.add(sigmoid, ops.run('SigmoidGrad', [sigmoid, gate])); // of silu
    return ops.tensor(ops.concat([ops.mul(ops.mul(gradient, up), slope), dUp], 1));
  });

  ops.register('Rotate', (inputs: Record<string, tf.TensorInfo>, { direction, interleaved }: RotateAttributes) => {
    const { x, cos, sin } = inputs as Record<'x' | 'cos' | 'sin', tf.TensorInfo>;
    const sines = direction === 1 ? ops.read(sin) : ops.run('Neg', [ops.read(sin)]);
    return ops.tensor((interleaved ? turnNeighbours : turnHalves)(ops, ops.read(x), ops.read(cos), sines));
  });
}

/** x times cosines, plus the halves of each head exchanged times signed sines. */
function turnHalves(ops: RawOps, x: Handle, cos: Handle, sin: Handle): Handle {
  const [, seq, heads, headDim] = x.shape as [number, number, number, number];
  const spread = (table: Handle, times: number) =>
    overHeads(ops, ops.reshape(table, [-1, seq, 1, table.shape.at(-1)!]), [heads, times]);
  const signed = ops.concat([ops.run('Neg', [sin]), sin], sin.shape.length - 1); // [..., seq, headDim]
  const swapped = ops.run(
    'Roll',
    [x, ops.int32(headDim / 2), ops.int32(3)],
    [ops.type('T', x.dtype), ops.type('Tshift', INT32), ops.type('Taxis', INT32)],
  );
  return ops.add(ops.mul(x, spread(cos, 2)), ops.mul(swapped, spread(signed, 1)));
}

/** Two floats side by side are a complex number in memory, and a turn is one complex product. */
function turnNeighbours(ops: RawOps, x: Handle, cos: Handle, sin: Handle): Handle {
  const [batch, seq, heads, headDim] = x.shape as [number, number, number, number];
  const turns = ops.run('Complex', [cos, sin], [ops.type('T', FLOAT), ops.type('Tout', COMPLEX64)]);
  const spread = overHeads(ops, ops.reshape(turns, [-1, seq, 1, headDim / 2]), [heads, 1]);
  const pairs = ops.bitcast(ops.reshape(x, [batch, seq, heads, headDim / 2, 2]), COMPLEX64);
  const turned = ops.run('Mul', [pairs, spread], [ops.type('T', COMPLEX64)]);
  return ops.reshape(ops.bitcast(turned, FLOAT), x.shape);
}

/** A table `[..., seq, 1, width]` repeated over heads and along its width: broadcasting is slower. */
function overHeads(ops: RawOps, table: Handle, [heads, times]: readonly [number, number]): Handle {
  return ops.run(
    'Tile',
    [table, ops.int32([1, 1, heads, times])],
    [ops.type('T', table.dtype), ops.type('Tmultiples', INT32)],
  );
}

/** `1 / sqrt(mean(x^2) + epsilon)` of every row, the last dimension kept as 1. */
function inverseRms(ops: RawOps, x: Handle, epsilon: number): Handle {
  const norm = ops.reduce('EuclideanNorm', x, -1);
  const mean = ops.mul(ops.run('Square', [norm]), ops.float32(1 / x.shape.at(-1)!));
  return ops.run('Rsqrt', [ops.add(mean, ops.float32(epsilon))]);
}
