import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it, vi } from 'vitest';
import {
  adamWUpdate,
  adamWUpdateReference,
  crossEntropy,
  crossEntropyReference,
  gather,
  groupedMatMul,
  groupedMatMulReference,
  matMul,
  type RopeTables,
  type RotaryLayout,
  rmsNorm,
  rmsNormReference,
  rotate,
  rotateReference,
  sumOfSquares,
  swiGlu,
  swiGluReference,
} from './index.js';

/** float32 sums of a few hundred products in another order, with a fused or an unfused multiply-add. */
const SUM = 2e-5;

let seed = 1;
const random = (...shape: number[]) => tf.randomNormal(shape, 0, 1, 'float32', seed++);

/** Value and gradients of the fast form against the plain one. */
async function expectSame(
  fast: (...t: tf.Tensor[]) => tf.Tensor,
  plain: (...t: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  tolerance = SUM,
): Promise<void> {
  const weighted =
    (f: (...t: tf.Tensor[]) => tf.Tensor) =>
    (...t: tf.Tensor[]) => {
      const y = f(...t);
      return tf.sum(tf.mul(y, tf.sin(tf.reshape(tf.range(0, y.size), y.shape))));
    };
  const [a, b] = [tf.tidy(() => fast(...inputs)), tf.tidy(() => plain(...inputs))];
  await expectClose(a, b, tolerance);
  const [da, db] = [tf.tidy(() => tf.grads(weighted(fast))(inputs)), tf.tidy(() => tf.grads(weighted(plain))(inputs))];
  for (let i = 0; i < inputs.length; i++) await expectClose(da[i]!, db[i]!, tolerance);
  await expectNoLeak(() => tf.tidy(() => tf.grads(weighted(fast))(inputs)));
  tf.dispose([a, b, da, db, inputs]);
}

function naiveMatMul(
  a: Float32Array,
  b: Float32Array,
  m: number,
  k: number,
  n: number,
  ta: boolean,
  tb: boolean,
): number[] {
  const out: number[] = [];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[ta ? p * m + i : i * k + p]! * b[tb ? j * k + p : p * n + j]!;
      out.push(sum);
    }
  }
  return out;
}

describeOnBackends('matMul', (backend) => {
  const sizes = [
    [1, 7, 11],
    [3, 5, 2],
    [4, 8, 8],
    [13, 3, 9],
    [37, 301, 19],
    [129, 67, 523],
    [2, 0, 3],
  ] as const;
  for (const [m, k, n] of sizes) {
    for (const ta of [false, true]) {
      for (const tb of [false, true]) {
        it(`[${m},${k}] x [${k},${n}]${ta ? ' a transposed' : ''}${tb ? ' b transposed' : ''} equals three loops`, async () => {
          const [a, b] = [random(...(ta ? [k, m] : [m, k])), random(...(tb ? [n, k] : [k, n]))];
          const expected = naiveMatMul(await a.data<'float32'>(), await b.data<'float32'>(), m, k, n, ta, tb);
          const y = matMul(a, b, ta, tb);
          await expectClose(await y.data(), expected, SUM);
          tf.dispose([a, b, y]);
        });
      }
    }
  }

  it('multiplies batches, shared and broadcast right-hand sides alike', async () => {
    const [a, b] = [random(2, 3, 5, 7), random(2, 3, 7, 11)];
    const whole = matMul(a, b);
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < 3; j++) {
        const one = tf.tidy(() => {
          const pick = (t: tf.Tensor, r: number, c: number) =>
            tf.reshape(tf.slice(t, [i, j, 0, 0], [1, 1, r, c]), [r, c]);
          return tf.sub(tf.matMul(pick(a, 5, 7), pick(b, 7, 11)), pick(whole, 5, 11));
        });
        await expectClose(await one.data(), new Float32Array(55), SUM);
        one.dispose();
      }
    }
    const shared = random(7, 11);
    const tall = matMul(a, shared);
    const tiled = tf.tidy(() => tf.matMul(a, tf.tile(tf.reshape(shared, [1, 1, 7, 11]), [2, 3, 1, 1])));
    await expectClose(tall, tiled, SUM);
    const [outer, inner] = [random(2, 1, 5, 7), random(1, 3, 7, 2)];
    const crossed = matMul(outer, inner);
    expect(crossed.shape).toEqual([2, 3, 5, 2]);
    const spread = tf.tidy(() => tf.matMul(tf.tile(outer, [1, 3, 1, 1]), tf.tile(inner, [2, 1, 1, 1])));
    await expectClose(crossed, spread, SUM);
    tf.dispose([a, b, whole, shared, tall, tiled, outer, inner, crossed, spread]);
  });

  it('leaves nothing behind, views of single matrices included', async () => {
    const [a, b] = [random(1, 5, 7), random(1, 7, 3)];
    await expectNoLeak(() => matMul(a, b));
    tf.dispose([a, b]);
  });

  it.runIf(backend === 'wasm')('refuses integers, whose bits it would read as floats', () => {
    const a = tf.ones([2, 2], 'int32');
    expect(() => matMul(a, a)).toThrow('must be float32 on wasm, got int32 and int32');
    a.dispose();
  });

  it('has a gradient for each of its shapes', async () => {
    for (const [a, b, ta, tb] of [
      [random(3, 5), random(5, 2), false, false],
      [random(5, 3), random(2, 5), true, true],
      [random(2, 3, 5), random(5, 2), false, false],
      [random(2, 3, 5), random(2, 5), false, true],
      [random(2, 3, 5), random(2, 5, 2), false, false],
      [random(1, 3, 5), random(2, 5, 2), false, false],
    ] as const) {
      await expectGradient((x, y) => matMul(x!, y!, ta, tb), [a, b]);
      tf.dispose([a, b]);
    }
  });

  it('refuses what cannot be multiplied, with both shapes', () => {
    const [a, b, v] = [random(2, 3), random(5, 7), random(3)];
    expect(() => matMul(a, b)).toThrow('inner sizes must agree, got 3 of [2,3] and 5 of [5,7]');
    expect(() => matMul(a, v)).toThrow('rank 2 or more');
    tf.dispose([a, b, v]);
  });
});

describeOnBackends('groupedMatMul', (backend) => {
  const offsets = [0, 3, 3, 10, 11]; // the second expert has no rows, the last has one

  it('equals a slice and a product per expert, with gradients', async () => {
    await expectSame(
      (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, offsets),
      (x, w) => groupedMatMulReference(x as tf.Tensor2D, w as tf.Tensor3D, offsets),
      [random(11, 5), random(4, 5, 7)],
    );
    await expectSame(
      (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, offsets, true),
      (x, w) => groupedMatMulReference(x as tf.Tensor2D, w as tf.Tensor3D, offsets, true),
      [random(11, 5), random(4, 7, 5)],
    );
  });

  it('agrees with central differences', async () => {
    const [x, w] = [random(11, 3), random(4, 3, 2)];
    await expectGradient((x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, offsets), [x, w]);
    tf.dispose([x, w]);
  });

  it('refuses offsets and sizes that do not fit', () => {
    const [x, w] = [random(11, 5), random(4, 5, 7)] as [tf.Tensor2D, tf.Tensor3D];
    expect(() => groupedMatMul(x, w, [0, 3, 11])).toThrow('experts + 1 = 5 entries, got 3');
    expect(() => groupedMatMul(x, w, [0, 5, 3, 10, 11])).toThrow('ascend from 0 to at most 11 rows');
    expect(() => groupedMatMul(x, w, [0, 5, 5, 10, 13])).toThrow('at most 11 rows, got [0,5,5,10,13]');
    expect(() => groupedMatMul(x, w, offsets, true)).toThrow('x must be [rows, 7]');
    const [few, floats] = [tf.tensor1d([0, 3, 11], 'int32'), tf.tensor1d(offsets)];
    expect(() => groupedMatMul(x, w, few)).toThrow('offsets must be int32 [experts + 1 = 5], got int32 [3]');
    expect(() => groupedMatMul(x, w, floats)).toThrow('got float32 [5]');
    tf.dispose([x, w, few, floats]);
  });

  it('multiplies over many tiles, with edges that fill none', async () => {
    const [rows, inner, columns] = [101, 19, 67];
    const several = [0, 67, 67, 101];
    for (const transposed of [false, true]) {
      await expectSame(
        (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, several, transposed),
        (x, w) => groupedMatMulReference(x as tf.Tensor2D, w as tf.Tensor3D, several, transposed),
        [random(rows, inner), transposed ? random(3, columns, inner) : random(3, inner, columns)],
      );
    }
  });

  it('gives zeros for the rows from the last offset on, which add nothing to a gradient', async () => {
    const part = [0, 2, 2, 7];
    const [x, w] = [random(11, 3), random(3, 3, 5)] as [tf.Tensor2D, tf.Tensor3D];
    const y = groupedMatMul(x, w, part);
    const rest = tf.slice(y, [7, 0]);
    await expectClose(rest, new Float32Array(4 * 5), 0);
    tf.dispose([y, rest]);
    await expectSame(
      (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, part),
      (x, w) => groupedMatMulReference(x as tf.Tensor2D, w as tf.Tensor3D, part),
      [x, w],
    );
  });

  it('takes its offsets from a tensor', async () => {
    const tensor = tf.tensor1d(offsets, 'int32');
    for (const transposed of [false, true]) {
      await expectSame(
        (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, tensor, transposed),
        (x, w) => groupedMatMul(x as tf.Tensor2D, w as tf.Tensor3D, offsets, transposed),
        [random(11, 5), transposed ? random(4, 7, 5) : random(4, 5, 7)],
      );
    }
    tensor.dispose();
  });

  it('multiplies no rows into nothing', async () => {
    const [x, w] = [tf.zeros<tf.Rank.R2>([0, 5]), random(2, 5, 3) as tf.Tensor3D];
    const y = groupedMatMul(x, w, [0, 0, 0]);
    expect(y.shape).toEqual([0, 3]);
    expect(await y.data()).toHaveLength(0);
    tf.dispose([x, w, y]);
  });

  it.runIf(backend === 'wasm' || backend === 'webgpu')(
    'gives experts without any rows a gradient of zero',
    async () => {
      for (const rows of [0, 3]) {
        const [x, w] = [tf.ones<tf.Rank.R2>([rows, 5]), random(2, 5, 3) as tf.Tensor3D];
        const dw = tf.grad((w) => groupedMatMul(x, w as tf.Tensor3D, [0, 0, 0]))(w);
        await expectClose(dw, new Float32Array(30), 0);
        tf.dispose([x, w, dw]);
      }
    },
  );

  it.runIf(backend === 'wasm' || backend === 'webgpu')('spares frozen weights the outer product', () => {
    const [x, w] = [random(11, 5), random(4, 5, 7) as tf.Tensor3D];
    const tensor = tf.tensor1d(offsets, 'int32');
    const run = vi.spyOn(tf.engine(), 'runKernel');
    for (const given of [offsets, tensor]) {
      tf.dispose(tf.grad((x) => groupedMatMul(x as tf.Tensor2D, w, given))(x));
    }
    const names = run.mock.calls.map(([name]) => name).filter((name) => name.startsWith('Grouped'));
    run.mockRestore();
    expect(names).toHaveLength(4);
    expect(names.filter((name) => name.startsWith('GroupedOuterProduct'))).toEqual([]);
    tf.dispose([x, w, tensor]);
  });
});

describeOnBackends('gather', (backend) => {
  it('takes rows and adds their gradients back, a row asked for twice included', async () => {
    const x = random(5, 3);
    const indices = tf.tensor1d([4, 0, 4], 'int32');
    const rows = gather(x, indices);
    const [all, taken] = [await x.data(), await rows.data()];
    expect([...taken]).toEqual([12, 13, 14, 0, 1, 2, 12, 13, 14].map((i) => all[i]));
    await expectGradient((x) => gather(x!, indices), [x]);
    tf.dispose([x, indices, rows]);
  });

  it.skipIf(backend === 'webgpu' || backend === 'tensorflow')('refuses an index outside the rows', async () => {
    const x = random(5, 3);
    for (const bad of [5, -1]) {
      const indices = tf.tensor1d([0, bad], 'int32');
      expect(() => gather(x, indices)).toThrow(/not in|outside/);
      indices.dispose();
    }
    x.dispose();
  });
});

describeOnBackends('rmsNorm', () => {
  it('equals its plain form in value and gradient, at widths with and without a tail', async () => {
    for (const width of [8, 13]) {
      await expectSame(
        (x, w) => rmsNorm(x!, w as tf.Tensor1D, 1e-5),
        (x, w) => rmsNormReference(x!, w as tf.Tensor1D, 1e-5),
        [random(2, 3, width), random(width)],
      );
    }
  });

  it('sums over more rows and columns than one workgroup takes, the same way each time', async () => {
    for (const [rows, width] of [
      [131, 7],
      [3, 263],
    ] as const) {
      const [x, w] = [random(rows, width), random(width) as tf.Tensor1D];
      const gradient = () => tf.tidy(() => tf.grad((w) => rmsNorm(x, w as tf.Tensor1D, 1e-5))(w));
      const [once, again] = [gradient(), gradient()];
      await expectClose(once, again, 0);
      tf.dispose([once, again]);
      await expectSame(
        (x, w) => rmsNorm(x!, w as tf.Tensor1D, 1e-5),
        (x, w) => rmsNormReference(x!, w as tf.Tensor1D, 1e-5),
        [x, w],
      );
    }
  });

  it('gives its scratch memory back', async () => {
    const [x, w] = [random(5, 8), random(8) as tf.Tensor1D];
    const run = () => tf.dispose(tf.grads((x, w) => rmsNorm(x!, w as tf.Tensor1D, 1e-5))([x, w]));
    run();
    const before = tf.backend().numDataIds();
    run();
    expect(tf.backend().numDataIds()).toBe(before);
    tf.dispose([x, w]);
  });

  it('agrees with central differences and refuses a weight of another width', async () => {
    const [x, w] = [random(2, 5), random(5)];
    await expectGradient((x, w) => rmsNorm(x!, w as tf.Tensor1D, 1e-5), [x, w]);
    expect(() => rmsNorm(x, random(3) as tf.Tensor1D, 1e-5)).toThrow('weight must be [5]');
    tf.dispose([x, w]);
  });
});

describeOnBackends('swiGlu', () => {
  it('equals its plain form in value and gradient, large inputs included', async () => {
    await expectSame(
      (x) => swiGlu(x as tf.Tensor2D),
      (x) => swiGluReference(x as tf.Tensor2D),
      [random(5, 14)],
    );
    const far = tf.tensor2d([[-100, 100, 3, 5, 90, -90, 2, 7]]);
    await expectSame(
      (x) => swiGlu(x as tf.Tensor2D),
      (x) => swiGluReference(x as tf.Tensor2D),
      [far],
    );
  });

  it('agrees with central differences', async () => {
    for (const width of [6, 8]) {
      const x = random(3, width);
      await expectGradient((x) => swiGlu(x as tf.Tensor2D), [x]);
      x.dispose();
    }
  });

  it('reads numbers that were cast from integers', async () => {
    const [ints, floats] = [tf.tensor2d([[-3, 2, 5, 7]], [1, 4], 'int32'), tf.tensor2d([[-3, 2, 5, 7]])];
    const [a, b] = [tf.tidy(() => swiGlu(tf.cast(ints, 'float32'))), swiGlu(floats)];
    await expectClose(a, b, 1e-6);
    tf.dispose([ints, floats, a, b]);
  });

  it('refuses an odd width', () => {
    expect(() => swiGlu(tf.ones([2, 5]))).toThrow('[rows, 2 * intermediate], got [2,5]');
  });
});

describeOnBackends('rotate', () => {
  const [batch, seq, heads] = [2, 5, 3];
  /** Angles of a table's row, or of a row for each batch item. */
  const tablesOf = (half: number, ofRows: boolean, layout: RotaryLayout): RopeTables => {
    const shape = ofRows ? [batch, seq, half] : [seq, half];
    const angles = tf.tidy(() =>
      tf.reshape<tf.Rank.R2>(tf.range(0, tf.util.sizeFromShape(shape)), shape as [number, number]),
    );
    const tables = { cos: tf.cos(angles), sin: tf.tidy(() => tf.mul(1.25, tf.sin(angles)) as tf.Tensor2D), layout };
    angles.dispose();
    return tables;
  };
  const kinds = (['half-split', 'interleaved'] as const).flatMap((layout) =>
    [false, true].flatMap((ofRows) => [3, 4, 11].map((half) => [layout, ofRows, half] as const)),
  );

  it.each(kinds)('equals its plain form in value and gradient: %s, rows apart: %s, %d pairs', async (...kind) => {
    const [layout, ofRows, half] = kind;
    const tables = tablesOf(half, ofRows, layout);
    await expectSame(
      (x) => rotate(x as tf.Tensor4D, tables),
      (x) => rotateReference(x as tf.Tensor4D, tables),
      [random(batch, seq, heads, 2 * half)],
    );
    tf.dispose([tables.cos, tables.sin]);
  });

  it.each(kinds)('turns each pair as a product of complex numbers: %s, rows apart: %s, %d pairs', async (...kind) => {
    const [layout, ofRows, half] = kind;
    const tables = tablesOf(half, ofRows, layout);
    const x = random(batch, seq, heads, 2 * half) as tf.Tensor4D;
    const y = rotate(x, tables);
    const [values, cos, sin] = [await x.data(), await tables.cos.data(), await tables.sin.data()];
    const expected = new Float32Array(values.length);
    for (let pair = 0; pair < values.length / 2; pair++) {
      const [head, i] = [Math.floor(pair / half), pair % half];
      const position = Math.floor(head / heads) % (ofRows ? batch * seq : seq);
      const [at, step] = layout === 'interleaved' ? [2 * pair, 1] : [head * 2 * half + i, half];
      const [real, imaginary] = [values[at]!, values[at + step]!];
      const [c, s] = [cos[position * half + i]!, sin[position * half + i]!];
      expected[at] = real * c - imaginary * s;
      expected[at + step] = real * s + imaginary * c;
    }
    await expectClose(y, expected, SUM);
    tf.dispose([x, y, tables.cos, tables.sin]);
  });

  it('refuses odd heads and numbers that are not float32', () => {
    const tables = { cos: tf.ones<tf.Rank.R2>([2, 2]), sin: tf.ones<tf.Rank.R2>([2, 2]) };
    expect(() => rotate(tf.ones([1, 2, 1, 5]), tables)).toThrow('rotate: headDim must be even, got x [1,2,1,5]');
    expect(() => rotate(tf.ones([1, 2, 1, 4], 'int32'), tables)).toThrow('rotate: x must be float32, got int32');
  });

  it('refuses tables of other positions, rows or pairs', () => {
    const x = tf.ones<tf.Rank.R4>([2, 7, 3, 6]);
    const { cos, sin } = tablesOf(3, false, 'half-split');
    expect(() => rotate(x, { cos, sin })).toThrow('rotate: cos must be [7,3] or [2,7,3] for x [2,7,3,6], got [5,3].');
    const [seven, rows] = [tf.ones<tf.Rank.R2>([7, 3]), tf.ones<tf.Rank.R3>([2, 7, 3])];
    expect(() => rotate(x, { cos: seven, sin: rows })).toThrow('rotate: sin must be [7,3] or [2,7,3] as cos is');
    expect(() => rotate(x, { cos: seven, sin })).toThrow('rotate: sin must be [7,3]');
    tf.dispose([x, cos, sin, seven, rows]);
  });
});

describeOnBackends('crossEntropy', (backend) => {
  it('equals its plain form in value and gradient, uncounted rows included', async () => {
    const targets = tf.tensor1d([3, -100, 0, 12], 'int32');
    await expectSame(
      (x) => crossEntropy(x as tf.Tensor2D, targets),
      (x) => crossEntropyReference(x as tf.Tensor2D, targets),
      [tf.tidy(() => tf.mul(random(4, 13), 5))],
    );
    targets.dispose();
  });

  it('is 0 where there is one thing to predict', async () => {
    const [logits, targets] = [tf.tensor2d([[3], [-5]]), tf.tensor1d([0, -100], 'int32')];
    const losses = crossEntropy(logits, targets);
    await expectClose(losses, [0, 0], 1e-6);
    tf.dispose([logits, targets, losses]);
  });

  it('refuses targets of another number or type', () => {
    const [logits, few, floats] = [tf.ones<tf.Rank.R2>([3, 5]), tf.tensor1d([1, 2], 'int32'), tf.tensor1d([1, 2, 3])];
    expect(() => crossEntropy(logits, few)).toThrow('targets must be int32 [3] for logits [3,5], got int32 [2]');
    expect(() => crossEntropy(logits, floats)).toThrow('got float32 [3]');
    tf.dispose([logits, few, floats]);
  });

  it.runIf(backend === 'wasm')('refuses a target outside the vocabulary, which would index other memory', () => {
    const [logits, targets] = [tf.ones<tf.Rank.R2>([2, 5]), tf.tensor1d([4, 5], 'int32')];
    expect(() => crossEntropy(logits, targets)).toThrow('target 5 at row 1 is outside the vocabulary of 5');
    tf.dispose([logits, targets]);
  });
});

describeOnBackends('adamWUpdate', (backend) => {
  it('equals its plain form over several steps and leaves aliases alone', async () => {
    const fresh = () =>
      tf.tidy(() => [tf.variable(tf.ones([13])), tf.variable(tf.zeros([13])), tf.variable(tf.zeros([13]))]);
    const [p, m, v] = fresh() as [tf.Variable, tf.Variable, tf.Variable];
    const [pr, mr, vr] = fresh() as [tf.Variable, tf.Variable, tf.Variable];
    const options = { learningRate: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, gradientScale: 0.5 };
    for (let step = 1; step <= 5; step++) {
      const g = random(13);
      adamWUpdate(p, g, m, v, { ...options, step });
      adamWUpdateReference(pr, g, mr, vr, { ...options, step });
      g.dispose();
    }
    await expectClose(p, pr, 1e-5);
    await expectClose(v, vr, 1e-5);
    const alias = tf.reshape(p, [13, 1]);
    const before = [...(await alias.data())];
    const g = tf.ones([13]);
    adamWUpdate(p, g, m, v, { ...options, step: 6 });
    expect([...(await alias.data())], backend).toEqual(before);
    expect(() => adamWUpdate(p, g, m, v, { ...options, step: 0 })).toThrow('steps count from 1');
    tf.dispose([p, m, v, pr, mr, vr, alias, g]);
  });

  it('sums squares of many tensors in one result', async () => {
    const tensors = [tf.tensor1d([1, 2, 3, 4, 5]), tf.tensor2d([[3], [4]])];
    const sums = sumOfSquares(tensors);
    expect([...(await sums.data())]).toEqual([55, 25]);
    tf.dispose([tensors, sums]);
  });
});
