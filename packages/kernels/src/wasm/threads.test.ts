import * as tf from '@tensorflow/tfjs-core';
import { packRows } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  adamWUpdate,
  combineRows,
  crossEntropy,
  decodeLayer,
  type FrozenDtype,
  type FrozenMatrix,
  flashAttention,
  frozenMatMul,
  frozenMatrix,
  groupedFrozenMatMul,
  groupedMatMul,
  matMul,
  rmsNorm,
  rotate,
  sumOfSquares,
  swiGlu,
  thaw,
} from '../index.js';
import { installAttention } from './attention.js';
import { installDecodeLayer } from './decode-layer.js';
import { installFrozen } from './frozen.js';
import { openWasmHeap, type WasmHeap } from './heap.js';
import { installLayers } from './layers.js';
import { installProducts } from './products.js';
import { installRows } from './rows.js';
import { defaultThreadCount, type KernelCall } from './threads.js';

/** float32 sums of some hundred products in another order, with a fused or an unfused multiply-add. */
const SUM = 1e-4;

/** An op over its inputs, large enough to be cut into several calls. */
interface Case {
  readonly name: string;
  readonly inputs: readonly (readonly number[])[];
  readonly op: (...inputs: tf.Tensor[]) => tf.Tensor;
}

const groups = [0, 101, 101, 307, 601];
const cases: Case[] = [
  {
    name: 'a product',
    inputs: [
      [307, 257],
      [257, 223],
    ],
    op: (a, b) => matMul(a, b),
  },
  {
    name: 'a product, both transposed',
    inputs: [
      [257, 307],
      [223, 257],
    ],
    op: (a, b) => matMul(a, b, true, true),
  },
  {
    name: 'a batch of products',
    inputs: [
      [3, 67, 83],
      [3, 83, 71],
    ],
    op: (a, b) => matMul(a, b),
  },
  {
    name: 'one row',
    inputs: [
      [1, 1031],
      [1031, 1033],
    ],
    op: (a, b) => matMul(a, b),
  },
  {
    name: 'one row, transposed',
    inputs: [
      [1, 1031],
      [1033, 1031],
    ],
    op: (a, b) => matMul(a, b, false, true),
  },
  {
    name: 'a grouped product',
    inputs: [
      [601, 61],
      [4, 61, 53],
    ],
    op: (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, groups),
  },
  { name: 'rmsNorm', inputs: [[523, 257], [257]], op: (x, w) => rmsNorm(x, w as tf.Tensor1D, 1e-5) },
  { name: 'swiGlu', inputs: [[1031, 134]], op: (x) => swiGlu(x as tf.Tensor2D) },
  {
    name: 'rotate',
    inputs: [[2, 137, 11, 46]],
    op: (x) => {
      const angles = tf.reshape(tf.range(0, 137 * 23), [137, 23]) as tf.Tensor2D;
      return rotate(x as tf.Tensor4D, { cos: tf.cos(angles), sin: tf.sin(angles) });
    },
  },
  {
    name: 'flashAttention',
    inputs: [
      [2, 71, 6, 13],
      [2, 71, 3, 13],
      [2, 71, 3, 13],
    ],
    op: (q, k, v) => flashAttention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { causal: true, scale: 0.3 }),
  },
  {
    name: 'flashAttention over blocks of queries, windowed',
    inputs: [
      [1, 523, 2, 16],
      [1, 523, 1, 16],
      [1, 523, 1, 16],
    ],
    op: (q, k, v) => {
      const options = { causal: true, scale: 0.25, window: 211, slopes: [0.01, 0.02] };
      return flashAttention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, options);
    },
  },
  {
    name: 'combineRows',
    inputs: [
      [2 * 311, 211],
      [311, 2],
    ],
    op: (rows, weights) =>
      combineRows(rows as tf.Tensor2D, weights as tf.Tensor2D, {
        tokenOfRow: tf.tensor1d(
          Int32Array.from({ length: 622 }, (_, row) => row % 311),
          'int32',
        ),
        choiceOfRow: tf.tensor1d(
          Int32Array.from({ length: 622 }, (_, row) => (row % 311) * 2 + Math.floor(row / 311)),
          'int32',
        ),
        complete: true,
        rowOfChoice: tf.tensor2d(
          Int32Array.from({ length: 622 }, (_, at) => (at % 2) * 311 + (at >> 1)),
          [311, 2],
          'int32',
        ),
      }),
  },
  {
    name: 'crossEntropy',
    inputs: [[67, 1009]],
    op: (x) => crossEntropy(x as tf.Tensor2D, tf.range(0, 67, 1, 'int32')),
  },
  ...(['int8', 'bfloat16', 'float16'] as const).flatMap((dtype) => [
    {
      name: `one row and a frozen weight of ${dtype}`,
      inputs: [[1, 1031]],
      op: (x: tf.Tensor) => frozenMatMul(x, freeze([1033, 1031], dtype)),
    },
    {
      name: `rows and frozen weights of ${dtype}`,
      inputs: [[601, 61]],
      op: (x: tf.Tensor) => groupedFrozenMatMul(x as tf.Tensor2D, freeze([4, 301, 61], dtype), groups),
    },
    {
      name: `a frozen weight of ${dtype} that is thawed`,
      inputs: [[1031, 301]],
      op: (x: tf.Tensor) => tf.mul(x, thaw(freeze([301, 1031], dtype))),
    },
  ]),
];

function freeze(shape: number[], dtype: FrozenDtype): FrozenMatrix {
  const [rows, columns] = [tf.util.sizeFromShape(shape.slice(0, -1)), shape.at(-1)!];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
  return frozenMatrix(packRows(values, [rows, columns], dtype), shape, dtype);
}

describeOnBackends('threads', (backend) => {
  if (backend !== 'wasm') return it.skip('belong to the wasm backend', () => {});
  const heaps = new Map<number, WasmHeap>();
  const use = (threads: number) => {
    installProducts(heaps.get(threads)!);
    installLayers(heaps.get(threads)!);
    installRows(heaps.get(threads)!);
    installAttention(heaps.get(threads)!);
    installFrozen(heaps.get(threads)!);
    installDecodeLayer(heaps.get(threads)!);
  };
  beforeAll(async () => {
    for (const threads of [1, 2, 3]) heaps.set(threads, await openWasmHeap(threads));
  });
  afterAll(() => use(1));

  it('are as many as asked for', () => {
    for (const [threads, heap] of heaps) expect(heap.threads).toBe(threads);
  });

  it.each(cases)('give the bits of one thread in $name and its gradients', async ({ inputs, op }) => {
    const tensors = inputs.map((shape, i) => tf.randomNormal([...shape], 0, 1, 'float32', i + 1));
    const values = async (threads: number) => {
      use(threads);
      const outputs = tf.tidy(() => {
        const weighted = (...t: tf.Tensor[]) => {
          const y = op(...t);
          return tf.sum(tf.mul(y, tf.sin(tf.reshape(tf.range(0, y.size), y.shape))));
        };
        return [op(...tensors), ...tf.grads(weighted)(tensors)];
      });
      const read = await Promise.all(outputs.map((t) => t.data<'float32'>()));
      tf.dispose(outputs);
      return read;
    };
    const one = await values(1);
    for (const threads of [2, 3]) expect(sameBits(one, await values(threads)), `${threads} threads`).toBe(true);
    tf.dispose(tensors);
  });

  it('give the bits of one thread in one token through a layer', async () => {
    const [hidden, width, intermediate] = [257, 240, 521];
    const random = (...shape: number[]) => tf.randomNormal(shape, 0, 0.1, 'float32', shape.length + shape[0]!);
    const weights = {
      ...{ inputNorm: random(hidden), postAttentionNorm: random(hidden) },
      ...{ q: random(hidden, width), k: random(hidden, 120), v: random(hidden, 120), o: random(width, hidden) },
      gate: random(hidden, 3),
      gateUp: random(3, hidden, 2 * intermediate),
      down: random(3, intermediate, hidden),
    } as Parameters<typeof decodeLayer>[1];
    const token = random(1, hidden) as tf.Tensor2D;
    const rotation = { cos: tf.ones<tf.Rank.R2>([1, 15]), sin: tf.zeros<tf.Rank.R2>([1, 15]) };
    const step = async (threads: number) => {
      use(threads);
      const [k, v] = [random(1, 7, 4, 30), random(1, 7, 4, 30)] as [tf.Tensor4D, tf.Tensor4D];
      const options = { epsilon: 1e-5, numExpertsPerTok: 2, normTopkProb: true };
      const { hidden: out, routing } = decodeLayer(token, weights, { k, v, position: 5 }, rotation, options);
      const made = [out, k, v, routing!.weights];
      const read = await Promise.all(made.map((t) => t.data<'float32'>()));
      tf.dispose([made, { ...routing }]);
      return read;
    };
    const one = await step(1);
    for (const threads of [2, 3]) expect(sameBits(one, await step(threads)), `${threads} threads`).toBe(true);
    tf.dispose([{ ...weights }, token, rotation]);
  });

  it('give the bits of one thread in an optimiser step and a sum of squares', async () => {
    const step = async (threads: number) => {
      use(threads);
      const made = tf.tidy(() =>
        [1, 2, 3].map((seed) => tf.variable(tf.abs(tf.randomNormal([70_001], 0, 1, 'float32', seed)))),
      );
      const [parameter, first, second] = made as [tf.Variable, tf.Variable, tf.Variable];
      const gradient = tf.randomNormal([70_001], 0, 1, 'float32', 5);
      const options = {
        learningRate: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weightDecay: 0.1,
        gradientScale: 0.5,
      };
      adamWUpdate(parameter, gradient, first, second, { ...options, step: 2 });
      const sums = sumOfSquares([parameter, gradient]);
      const read = await Promise.all([...made, sums].map((t) => t.data<'float32'>()));
      tf.dispose([made, gradient, sums]);
      return read;
    };
    const one = await step(1);
    for (const threads of [2, 3]) expect(sameBits(one, await step(threads)), `${threads} threads`).toBe(true);
  });

  it('cut a product where its parts meet without a seam', async () => {
    use(2);
    const [m, k, n] = [307, 257, 223];
    const [a, b] = [tf.randomNormal([m, k], 0, 1, 'float32', 1), tf.randomNormal([k, n], 0, 1, 'float32', 2)];
    const [left, right] = [await a.data<'float32'>(), await b.data<'float32'>()];
    const expected = Float32Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += left[Math.floor(at / n) * k + p]! * right[p * n + (at % n)]!;
      return sum;
    });
    const y = matMul(a, b);
    await expectClose(await y.data(), expected, SUM);
    tf.dispose([a, b, y]);
  });

  it('make every call of a long list once, and again after one has trapped', () => {
    const heap = heaps.get(3)!;
    const out = heap.output([2503]);
    const x = heap.output([2503]);
    const [X, Y] = [heap.address(x), heap.address(out)];
    const calls = Array.from({ length: 2503 }, (_, i): KernelCall => ['sumRows', X + i * 4, 1, 1, Y + i * 4]);
    const outside: KernelCall = ['sumRows', 2 ** 32 - 64, 1 << 20, 64, Y];
    expect(() => heap.run([outside, ...calls, outside], 2 ** 30)).toThrow('kernels: a WebAssembly kernel trapped');
    heap.view(x).set(Float32Array.from({ length: 2503 }, (_, i) => i));
    heap.view(out).fill(-1);
    heap.run(calls, 2 ** 30);
    expect([...heap.view(out)]).toEqual(Array.from({ length: 2503 }, (_, i) => i));
    for (const tensor of [x, out]) tf.backend().disposeData(tensor.dataId);
  });
});

describe('the number of threads', () => {
  const before = process.env.TMOE_THREADS;
  afterEach(() => {
    if (before === undefined) delete process.env.TMOE_THREADS;
    else process.env.TMOE_THREADS = before;
  });

  it('is what TMOE_THREADS says, or one per core and at most four', () => {
    process.env.TMOE_THREADS = '3';
    expect(defaultThreadCount()).toBe(3);
    delete process.env.TMOE_THREADS;
    expect([1, 2, 3, 4]).toContain(defaultThreadCount());
  });

  it.each(['0', '-2', '1.5', 'all'])('refuses %s', (asked) => {
    process.env.TMOE_THREADS = asked;
    expect(() => defaultThreadCount()).toThrow(`TMOE_THREADS must be a whole number from 1, got '${asked}'`);
  });
});

function sameBits(a: readonly Float32Array[], b: readonly Float32Array[]): boolean {
  return a.every((values, i) => Buffer.from(values.buffer).equals(Buffer.from(b[i]!.buffer)));
}
