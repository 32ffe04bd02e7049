import * as tf from '@tensorflow/tfjs-core';
import { packRows } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  type FrozenDtype,
  type FrozenMatrix,
  frozenMatMul,
  frozenMatrix,
  frozenRows,
  groupedFrozenMatMul,
  thaw,
} from './index.js';

/** float32 sums of some hundred products, against float64. */
const SUM = 5e-5;
/** A weight times its scale, rounded to float32. */
const SCALED = 1e-7;

const dtypes: readonly FrozenDtype[] = ['int8', 'bfloat16', 'float16'];

/** How far packing may move a weight: half a scale, or half a step of what it becomes. */
const moveOf = (dtype: FrozenDtype, weight: number, scale: number) =>
  dtype === 'int8' ? 0.5001 * scale : Math.max(2 ** (dtype === 'bfloat16' ? -8 : -11) * Math.abs(weight), 2 ** -25);

let seed = 1;
/** About normal, seeded, the same on every backend. */
function random(length: number): Float32Array {
  const uniform = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0;
    return seed / 2 ** 31;
  };
  return Float32Array.from({ length }, () => uniform() + uniform() + uniform());
}
const randomTensor = (...shape: number[]) => tf.tensor(random(tf.util.sizeFromShape(shape)), shape);

/** Weights, and what they are after packing: decoded here, by the definition of each dtype, in float64. */
function pack(shape: number[], dtype: FrozenDtype) {
  const columns = shape.at(-1)!;
  const weights = random(tf.util.sizeFromShape(shape));
  const rows = weights.length / columns;
  const packed = packRows(weights, [rows, columns], dtype);
  const exact = Float64Array.from(weights, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const word = packed.packed[row * (packed.packed.length / rows) + Math.floor((column * bitsOf[dtype]) / 32)]!;
    const bits = word >> ((column * bitsOf[dtype]) % 32);
    return dtype === 'int8' ? ((bits << 24) >> 24) * packed.scales![row]! : valueOfHalf(bits & 0xffff, dtype);
  });
  return { weights, exact, scales: packed.scales, frozen: frozenMatrix(packed, shape, dtype) };
}

const bitsOf: Readonly<Record<FrozenDtype, number>> = { int8: 8, bfloat16: 16, float16: 16 };

/** IEEE 754: a sign, an exponent and what stands behind the point. */
function valueOfHalf(bits: number, dtype: 'bfloat16' | 'float16'): number {
  const [fractionBits, bias] = dtype === 'bfloat16' ? [7, 127] : [10, 15];
  const exponent = (bits & 0x7fff) >> fractionBits;
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  return (bits & 0x8000 ? -1 : 1) * (exponent ? 1 + fraction : 2 * fraction) * 2 ** (exponent - bias);
}

/** `x [m, k] x w [n, k]^T`, in float64. */
function product(x: ArrayLike<number>, w: ArrayLike<number>, m: number, k: number, n: number): number[] {
  return Array.from({ length: m * n }, (_, at) => {
    let sum = 0;
    for (let p = 0; p < k; p++) sum += x[Math.floor(at / n) * k + p]! * w[(at % n) * k + p]!;
    return sum;
  });
}

/** `dy [m, n] x w [n, k]`, in float64. */
function productBack(dy: ArrayLike<number>, w: ArrayLike<number>, m: number, k: number, n: number): number[] {
  return Array.from({ length: m * k }, (_, at) => {
    let sum = 0;
    for (let p = 0; p < n; p++) sum += dy[Math.floor(at / k) * n + p]! * w[p * k + (at % k)]!;
    return sum;
  });
}

/** Every pattern of 16 bits once in the lower and once in the upper half of a word, as two matrices `[256, 256 weights]`. */
function allPatterns() {
  const patterns = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i);
  return [patterns, patterns.map((i) => i ^ 1)].map((half) => new Int32Array(half.buffer));
}

/** Each number has the bits that its pattern stands for, or is NaN as it is. */
function expectThawed(values: Float32Array, patterns: Uint16Array, dtype: 'bfloat16' | 'float16') {
  const nan = dtype === 'bfloat16' ? 0x7f80 : 0x7c00;
  const wrong = [...patterns.keys()].filter((i) => {
    const size = patterns[i]! & 0x7fff;
    if (size > nan) return !Number.isNaN(values[i]);
    const sign = patterns[i]! & 0x8000 ? -1 : 1;
    return !Object.is(values[i], size === nan ? sign * Number.POSITIVE_INFINITY : valueOfHalf(patterns[i]!, dtype));
  });
  expect(wrong.map((i) => `${patterns[i]!.toString(16)}: ${values[i]}`).slice(0, 9)).toEqual([]);
}

/** As they lie on the device: through the buffer, since a number read from it may change a NaN. */
function wordsOf({ packed }: FrozenMatrix): Int32Array {
  return new Int32Array(packed.dataSync<'float32'>().slice().buffer);
}

describeOnBackends('frozen matrices', (backend) => {
  const words = backend === 'tensorflow' ? 'float32' : 'int32';
  const sizes = [
    [1, 1, 1],
    [1, 7, 11],
    [1, 257, 67],
    [1, 1031, 41],
    [2, 13, 5],
    [3, 64, 8],
    [5, 131, 37],
    [13, 3, 9],
    [67, 301, 139],
    [131, 67, 523],
  ] as const;
  for (const dtype of dtypes) {
    for (const [m, k, n] of sizes) {
      it(`${dtype} [${m},${k}] x [${k},${n}], forward and backward, equals three loops`, async () => {
        const { exact, frozen } = pack([n, k], dtype);
        const [x, dy] = [randomTensor(m, k), randomTensor(m, n)];
        const [y, dx] = [frozenMatMul(x, frozen), tf.tidy(() => tf.grad((x) => frozenMatMul(x, frozen))(x, dy))];
        expect([y.shape, dx.shape]).toEqual([
          [m, n],
          [m, k],
        ]);
        await expectClose(await y.data(), product(await x.data(), exact, m, k, n), SUM);
        await expectClose(await dx.data(), productBack(await dy.data(), exact, m, k, n), SUM);
        tf.dispose([frozen, x, dy, y, dx]);
      });
    }

    it(`${dtype} thaws to what was packed, near what was given`, async () => {
      for (const shape of [
        [11, 7],
        [3, 5, 13],
        [2, 1],
      ]) {
        const { weights, exact, scales, frozen } = pack(shape, dtype);
        const columns = shape.at(-1)!;
        const thawed = tf.tidy(() => {
          const y = thaw(frozen);
          return tf.transpose(y, shape.length === 2 ? [1, 0] : [0, 2, 1]);
        });
        expect(thawed.shape).toEqual(shape);
        await expectClose(await thawed.data(), exact, dtype === 'int8' ? SCALED : 0);
        for (const [i, weight] of weights.entries()) {
          const scale = scales?.[Math.floor(i / columns)] ?? 0;
          expect(Math.abs(exact[i]! - weight)).toBeLessThanOrEqual(moveOf(dtype, weight, scale));
        }
        await expectNoLeak(() => thaw(frozen));
        tf.dispose([frozen, thawed]);
      }
    });

    it(`${dtype} looks rows up by id`, async () => {
      const { exact, frozen } = pack([11, 7], dtype);
      const ids = tf.tensor2d([7, 0, 7, 2, 10, 1], [2, 3], 'int32');
      const rows = frozenRows(frozen, ids);
      expect(rows.shape).toEqual([2, 3, 7]);
      const expected = [7, 0, 7, 2, 10, 1].flatMap((id) => [...exact.slice(7 * id, 7 * id + 7)]);
      await expectClose(await rows.data(), expected, dtype === 'int8' ? SCALED : 0);
      await expectNoLeak(() => frozenRows(frozen, ids));
      tf.dispose([frozen, ids, rows]);
    });

    it(`${dtype} multiplies rows by the weights of their expert, forward and backward`, async () => {
      const [k, n] = [37, 29];
      for (const offsets of [
        [0, 5, 5, 6],
        [0, 0, 67, 131],
        [0, 0, 0, 0],
        [0, 2, 3, 4],
      ]) {
        const rows = offsets.at(-1)! + (offsets[1] === 2 ? 3 : 0) || 2; // some of no expert
        const { exact, frozen } = pack([3, n, k], dtype);
        const [x, dy] = [randomTensor(rows, k), randomTensor(rows, n)] as [tf.Tensor2D, tf.Tensor2D];
        const [values, grads] = [await x.data(), await dy.data()];
        const expected = { y: new Array(rows * n).fill(0), dx: new Array(rows * k).fill(0) };
        for (const expert of [0, 1, 2]) {
          const [start, end] = [offsets[expert]!, offsets[expert + 1]!];
          const weight = exact.subarray(expert * n * k, (expert + 1) * n * k);
          const own = <T extends { slice(from: number, to: number): T }>(a: T, width: number) =>
            a.slice(start * width, end * width);
          const m = end - start;
          expected.y.splice(start * n, m * n, ...product(own(values, k), weight, m, k, n));
          expected.dx.splice(start * k, m * k, ...productBack(own(grads, n), weight, m, k, n));
        }
        const onDevice = tf.tensor1d(offsets, 'int32');
        for (const given of [offsets, onDevice]) {
          const run = (x: tf.Tensor) => groupedFrozenMatMul(x as tf.Tensor2D, frozen, given);
          const [y, dx] = [run(x), tf.tidy(() => tf.grad(run)(x, dy))];
          await expectClose(await y.data(), expected.y, SUM);
          await expectClose(await dx.data(), expected.dx, SUM);
          await expectNoLeak(() => tf.grad(run)(x, dy));
          tf.dispose([y, dx]);
        }
        tf.dispose([frozen, x, dy, onDevice]);
      }
    });
  }

  it('keeps the values at the ends of float16, and the signs of zeros', async () => {
    const bits = [0x0001, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x8000, 0x0000, 0x3555, 0x7c00, 0xfc00, 0x7e00];
    const packed = new Int32Array(Uint16Array.from(bits).buffer);
    const frozen = frozenMatrix({ packed }, [1, 12], 'float16');
    const thawed = thaw(frozen);
    const expected = [2 ** -24, -(2 ** -24), 1023 * 2 ** -24, 2 ** -14, 65504, -65504, -0, 0, 0.333251953125];
    expect([...(await thawed.data())]).toEqual([...expected, Infinity, -Infinity, NaN]);
    tf.dispose([frozen, thawed]);
  });

  it.runIf(backend !== 'webgpu')(
    'keeps every pattern of 16 bits on its way to the device, joined, looked up and thawed',
    () => {
      const halves = allPatterns();
      for (const dtype of ['bfloat16', 'float16'] as const) {
        tf.tidy(() => {
          const parts = halves.map((packed) => frozenMatrix({ packed }, [256, 256], dtype));
          const joined = { dtype, inputSize: 256, packed: tf.concat(parts.map(({ packed }) => packed)) };
          const stack = { ...joined, packed: tf.reshape(joined.packed, [2, 256, 128]) };
          const expected = new Int32Array(2 ** 16);
          expected.set(halves[0]!);
          expected.set(halves[1]!, 2 ** 15);
          for (const frozen of [joined, stack]) expect(wordsOf(frozen)).toEqual(expected);
          const bits = new Uint16Array(expected.buffer);
          const ids = tf.range(0, 512, 1, 'int32');
          for (const rows of [
            frozenRows(joined, ids),
            tf.transpose(thaw(joined)),
            tf.transpose(thaw(stack), [0, 2, 1]),
          ])
            expectThawed(rows.dataSync<'float32'>(), bits, dtype);
        });
      }
    },
  );

  it('takes four bytes a word and a scale a row', () => {
    for (const dtype of dtypes) {
      const before = tf.memory().numBytes;
      const { frozen } = pack([5, 7], dtype);
      expect(tf.memory().numBytes - before).toBe(dtype === 'int8' ? 4 * 5 * 2 + 4 * 5 : 4 * 5 * 4);
      expect(frozen.packed.dtype).toBe(words);
      tf.dispose(frozen);
    }
  });

  it.runIf(backend === 'tensorflow')(
    'equals the plain forms, also where words read as numbers that are none',
    async () => {
      const names = ['ThawRows', 'FrozenMatMul', 'GroupedFrozenMatMul'] as const;
      const kernels = names.map((name) => tf.getKernel(name, backend)!);
      const bytes = new Int32Array(Int8Array.from({ length: 5 * 8 }, (_, i) => [3, -5, -127, 127][i % 4]!).buffer);
      expect(new Float32Array(bytes.buffer).every(Number.isNaN)).toBe(true);
      const int8 = { packed: bytes, scales: Float32Array.of(1, 2, 3, 4, 5) };
      const frozen = [frozenMatrix(int8, [5, 7], 'int8'), ...dtypes.map((dtype) => pack([5, 7], dtype).frozen)];
      const [x, ids] = [randomTensor(3, 7), tf.tensor1d([4, 0, 4], 'int32')];
      const run = (frozen: FrozenMatrix) =>
        tf.tidy(() => {
          const { packed, scales } = frozen;
          const deeper = (t: tf.Tensor) => tf.reshape(t, [1, ...t.shape]);
          const stack = { ...frozen, packed: deeper(packed), ...(scales && { scales: deeper(scales) }) };
          const product = (x: tf.Tensor) => frozenMatMul(x, frozen);
          const grouped = groupedFrozenMatMul(x as tf.Tensor2D, stack, [0, 3]);
          return [thaw(frozen), frozenRows(frozen, ids), product(x), tf.grad(product)(x), grouped];
        });
      const fast = frozen.map(run);
      for (const name of names) tf.unregisterKernel(name, backend);
      try {
        for (const [i, plain] of frozen.map(run).entries()) {
          for (const [at, result] of plain.entries()) await expectClose(fast[i]![at]!, result, SUM);
          tf.dispose(plain);
        }
      } finally {
        for (const kernel of kernels) tf.registerKernel(kernel);
      }
      tf.dispose([frozen, fast, x, ids]);
    },
  );

  it('has the gradient of central differences, any number of leading dimensions, and leaves nothing behind', async () => {
    for (const dtype of dtypes) {
      const { frozen } = pack([5, 7], dtype);
      const x = randomTensor(2, 3, 7);
      const run = (x: tf.Tensor) => frozenMatMul(x, frozen);
      const y = run(x);
      expect(y.shape).toEqual([2, 3, 5]);
      await expectGradient(run, [x]);
      await expectNoLeak(() => tf.grad(run)(x));
      const { frozen: stack } = pack([2, 5, 7], dtype);
      const rows = randomTensor(3, 7);
      await expectGradient((x) => groupedFrozenMatMul(x as tf.Tensor2D, stack, [0, 1, 3]), [rows]);
      tf.dispose([frozen, stack, x, rows, y]);
    }
  });

  it('takes no rows', async () => {
    const [{ frozen }, { frozen: stack }] = [pack([5, 7], 'int8'), pack([2, 5, 7], 'int8')];
    const [x, ids] = [tf.zeros<tf.Rank.R2>([0, 7]), tf.zeros([2, 0], 'int32')];
    const made = [frozenMatMul(x, frozen), groupedFrozenMatMul(x, stack, [0, 0, 0]), frozenRows(frozen, ids)];
    expect(made.map(({ shape }) => shape)).toEqual([
      [0, 5],
      [0, 5],
      [2, 0, 7],
    ]);
    tf.dispose([frozen, stack, x, ids, made]);
  });

  it('refuses parts that do not fit each other', () => {
    const { frozen } = pack([5, 7], 'int8');
    const { frozen: stack } = pack([2, 5, 7], 'bfloat16');
    const [x, whole] = [tf.ones<tf.Rank.R2>([3, 7]), tf.ones([3, 7], 'int32')];
    const say = (change: Partial<FrozenMatrix>) => () => frozenMatMul(x, { ...frozen, ...change });
    expect(say({ dtype: 'int4' as 'int8' })).toThrow(
      "frozenMatMul: dtype must be one of int8, bfloat16, float16, got 'int4'.",
    );
    expect(say({ inputSize: 0.5 })).toThrow('inputSize must be a whole number from 1, got 0.5.');
    expect(say({ inputSize: 9 })).toThrow(
      `packed must be ${words} [outputSize, 3] for 9 int8 a row, got ${words} [5,2]; make it with frozenMatrix on the backend that runs.`,
    );
    expect(say({ scales: x })).toThrow('int8 needs float32 scales [5], one for each row of packed, got float32 [3,7].');
    expect(say({ dtype: 'float16', inputSize: 4 })).toThrow('float16 has no scales, got [5]; only int8 has.');
    const { scales: _, ...without } = frozen;
    expect(() => thaw(without)).toThrow('thaw: int8 needs float32 scales [5], one for each row of packed, got none.');
    expect(() => frozenMatMul(x, stack)).toThrow(`packed must be ${words} [outputSize, 4] for 7 bfloat16 a row`);
    expect(() => groupedFrozenMatMul(x, frozen, [0, 3])).toThrow(`packed must be ${words} [experts, outputSize, 2]`);
    expect(() => frozenMatMul(whole, frozen)).toThrow('frozenMatMul: x must be float32, got int32; cast it first.');
    const narrow = tf.ones([3, 5]);
    expect(() => frozenMatMul(narrow, frozen)).toThrow('x must be [..., 7] for 7 weights a row, got [3,5].');
    expect(() => groupedFrozenMatMul(x, stack, [0, 3])).toThrow('offsets must have experts + 1 = 3 entries, got 2.');
    expect(() => groupedFrozenMatMul(x, stack, [0, 4, 2])).toThrow(
      'groupedFrozenMatMul: offsets must ascend from 0 to at most 3 rows, got [0,4,2].',
    );
    expect(() => frozenRows(frozen, x)).toThrow('frozenRows: ids must be int32, got float32; cast them.');
    expect(() => frozenMatrix({ packed: new Int32Array(9) }, [5, 7], 'float16')).toThrow(
      'frozenMatrix: expected 20 int32 for float16 [5,7], got 9; rows are filled up to whole int32.',
    );
    tf.dispose([frozen, stack, x, whole, narrow]);
  });

  it.runIf(backend === 'cpu' || backend === 'wasm')('refuses an id outside the rows', () => {
    const { frozen } = pack([5, 7], 'int8');
    for (const id of [5, -1]) {
      const ids = tf.tensor1d([0, id], 'int32');
      expect(() => frozenRows(frozen, ids)).toThrow();
      ids.dispose();
    }
    tf.dispose(frozen);
  });

  it.runIf(backend === 'webgpu')('refuses to run without kernels where integers have no plain form', () => {
    const { frozen } = pack([5, 7], 'int8');
    const installed = tf.getKernel('ThawRows', backend)!;
    tf.unregisterKernel('ThawRows', backend);
    expect(() => thaw(frozen)).toThrow('thaw: the WebGPU kernels are not installed');
    tf.registerKernel(installed);
    tf.dispose(frozen);
  });

  it.runIf(backend === 'webgpu')('reads zeros for an id outside the rows', async () => {
    for (const dtype of dtypes) {
      const { exact, frozen } = pack([5, 7], dtype);
      const ids = tf.tensor1d([5, 4, -1], 'int32');
      const rows = frozenRows(frozen, ids);
      const expected = [...new Array(7).fill(0), ...exact.slice(28), ...new Array(7).fill(0)];
      await expectClose(await rows.data(), expected, dtype === 'int8' ? SCALED : 0);
      tf.dispose([frozen, ids, rows]);
    }
  });
});
