import { packRows, unpackRows } from '@therapeutic-moe/checkpoint';
import { describe, expect, it } from 'vitest';
import { instantiateKernels, type KernelModule } from './heap.js';

// Engines with relaxed SIMD never run the plain module through a backend, so it is tested here in a memory of its own.

/** float32 sums of a few hundred products in another order, with a fused or an unfused multiply-add. */
const SUM = 2e-5;

let seed = 1;
/** Uniform in [-1, 1), seeded. */
const random = (length: number) =>
  Float32Array.from({ length }, () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0;
    return seed / 2 ** 31;
  });

type Arrays = readonly (Float32Array | Int32Array)[];

type Work = (module: KernelModule, at: number[], scratch: number) => void;

/** Lays inputs and room for outputs into a fresh memory, works, and returns what inputs and outputs hold then. */
async function run(
  instructions: 'simd' | 'relaxed-simd',
  inputs: Arrays,
  outputs: readonly number[],
  work: Work,
): Promise<Float32Array[]> {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536 });
  const module = await instantiateKernels(instructions, memory);
  const at: number[] = [];
  let top = 1024;
  for (const length of [...inputs.map((input) => input.length), ...outputs]) {
    at.push(top);
    top += Math.ceil((length * 4 + 16) / 16) * 16;
  }
  inputs.forEach((input, i) => {
    const Kind = input instanceof Int32Array ? Int32Array : Float32Array;
    new Kind(memory.buffer, at[i], input.length).set(input);
  });
  work(module, at, top);
  return at.map((address, i) =>
    new Float32Array(
      memory.buffer,
      address,
      i < inputs.length ? inputs[i]!.length : outputs[i - inputs.length],
    ).slice(),
  );
}

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  const worst = Math.max(
    ...Array.from(actual, (value, i) => Math.abs(value - expected[i]!) / (1 + Math.abs(expected[i]!))),
  );
  expect(worst).toBeLessThan(SUM);
}

/** Runs on both modules, compares all they leave in memory, and returns the plain module's. */
async function onBoth(inputs: Arrays, outputs: readonly number[], work: Work): Promise<Float32Array[]> {
  const plain = await run('simd', inputs, outputs, work);
  const relaxed = await run('relaxed-simd', inputs, outputs, work);
  for (const [i, values] of plain.entries()) if (!(inputs[i] instanceof Int32Array)) expectNear(values, relaxed[i]!);
  return plain;
}

const sum = (length: number, term: (i: number) => number) => {
  let total = 0;
  for (let i = 0; i < length; i++) total += term(i);
  return total;
};

describe('the plain SIMD module', () => {
  it.each([
    [3, 5, 2],
    [13, 3, 9],
    [37, 301, 19],
    [129, 67, 523],
  ])('multiplies [%i,%i] by its right-hand side, transposed or not', async (m, k, n) => {
    const [a, b] = [random(m * k), random(k * n)];
    for (const [aRow, aColumn] of [
      [k, 1],
      [1, m],
    ] as const) {
      for (const [bRow, bColumn] of [
        [n, 1],
        [1, k],
      ] as const) {
        const [, , c] = await onBoth([a, b], [m * n], (module, [A, B, C], scratch) =>
          module.gemm(m, n, k, A!, aRow, aColumn, B!, bRow, bColumn, C!, n, scratch, false),
        );
        expectNear(
          c!,
          Array.from({ length: m * n }, (_, at) => {
            const [i, j] = [Math.floor(at / n), at % n];
            return sum(k, (p) => a[i * aRow + p * aColumn]! * b[p * bRow + j * bColumn]!);
          }),
        );
      }
    }
  });

  it('rounds every product and every sum: nothing is fused', async () => {
    const [m, k, n] = [4, 37, 8];
    const [a, b] = [random(m * k), random(k * n)];
    const c = (
      await run('simd', [a, b], [m * n], (module, [A, B, C], scratch) =>
        module.gemm(m, n, k, A!, k, 1, B!, n, 1, C!, n, scratch, false),
      )
    )[2]!;
    for (const [at, value] of c.entries()) {
      let expected = 0;
      for (let p = 0; p < k; p++) {
        const product = Math.fround(a[Math.floor(at / n) * k + p]! * b[p * n + (at % n)]!);
        expected = Math.fround(expected + product);
      }
      expect(value).toBe(expected);
    }
  });

  it.each(['int8', 'bfloat16', 'float16'] as const)('multiplies by a frozen weight of %s', async (dtype) => {
    const [kind, m, k, n] = [{ int8: 0, bfloat16: 1, float16: 2 }[dtype], 5, 301, 29];
    const [x, y, w] = [random(m * k), random(m * n), random(n * k)];
    const rows = packRows(w, [n, k], dtype);
    const { packed, scales = new Float32Array(n) } = rows;
    const rowBytes = (packed.length / n) * 4;
    const inputs = [x, y, packed, scales];
    const sizes = [n * k, n, m * n, m * k];
    const results = await onBoth(inputs, sizes, (module, [X, Y, P, S, thawed, one, many, back], scratch) => {
      module.thawRows(kind, P!, rowBytes, S!, 0, n, k, thawed!);
      module.frozenGemv(kind, n, k, X!, P!, rowBytes, S!, one!);
      module.frozenGemm(kind, m, n, k, X!, P!, rowBytes, S!, many!, n, scratch);
      module.frozenGemmBack(kind, m, k, n, Y!, P!, rowBytes, S!, back!, k, scratch);
    });
    const [thawed, one, many, back] = results.slice(4) as [Float32Array, Float32Array, Float32Array, Float32Array];
    const weights = unpackRows(rows, [n, k], dtype);
    const product = (i: number, j: number) => sum(k, (p) => x[i * k + p]! * weights[j * k + p]!);
    expect(thawed).toEqual(weights);
    expectNear(
      one,
      Array.from({ length: n }, (_, j) => product(0, j)),
    );
    expectNear(
      many,
      Array.from({ length: m * n }, (_, at) => product(Math.floor(at / n), at % n)),
    );
    expectNear(
      back,
      Array.from({ length: m * k }, (_, at) => {
        const [i, p] = [Math.floor(at / k), at % k];
        return sum(n, (j) => y[i * n + j]! * weights[j * k + p]!);
      }),
    );
  });

  it('multiplies a vector by rows and by columns', async () => {
    const [k, n] = [67, 29];
    const [x, b] = [random(k), random(k * n)];
    const [, , byRows, byColumns] = await onBoth([x, b], [n, n], (module, [X, B, rows, columns]) => {
      module.gemvRows(n, k, X!, B!, n, rows!, false);
      module.gemvColumns(n, k, X!, B!, k, columns!);
    });
    expectNear(
      byRows!,
      Array.from({ length: n }, (_, j) => sum(k, (p) => x[p]! * b[p * n + j]!)),
    );
    expectNear(
      byColumns!,
      Array.from({ length: n }, (_, j) => sum(k, (p) => x[p]! * b[j * k + p]!)),
    );
  });

  it.each([
    { queries: 1, keys: 523, window: 521, slope: 0.01 },
    { queries: 67, keys: 67, window: 67, slope: 0 },
    { queries: 11, keys: 23, window: 5, slope: 0.3 },
    { queries: 263, keys: 263, window: 151, slope: 0 },
  ])(
    'attends from $queries queries to $window of $keys keys, slope $slope',
    async ({ queries, keys, window, slope }) => {
      const [heads, headDim, scale] = [2, 6, 0.7];
      const row = heads * headDim;
      const [q, dO] = [random(queries * row), random(queries * row)];
      const [k, v] = [random(keys * row), random(keys * row)];
      const end = Int32Array.from({ length: queries }, (_, i) => i + 1 + keys - queries);
      const first = end.map((to) => Math.max(0, to - window));
      // Gradients are compared with the relaxed module's, which the conformance suite holds against the plain form.
      const results = await onBoth(
        [q, k, v, dO, first, end],
        [q.length, heads * queries, q.length, k.length, k.length],
        (module, [Q, K, V, D, F, E, O, L, dQ, dK, dV], scratch) => {
          for (let h = 0; h < heads; h++) {
            const x = h * headDim * 4;
            const lse = L! + h * queries * 4;
            const rows = [row, row, headDim, scale, slope, scratch] as const;
            module.attention(Q! + x, K! + x, V! + x, O! + x, lse, F!, E!, queries, ...rows);
            const given = [D! + x, Q! + x, K! + x, V! + x, O! + x, lse] as const;
            module.attentionGradient(...given, dQ! + x, dK! + x, dV! + x, F!, E!, queries, keys, ...rows);
          }
        },
      );
      const expected = new Float64Array(q.length);
      const logSums = new Float64Array(heads * queries);
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < queries; i++) {
          const at = i * row + h * headDim;
          const from = first[i]!;
          const weights = Array.from({ length: end[i]! - from }, (_, j) => {
            const score = scale * sum(headDim, (d) => q[at + d]! * k[(from + j) * row + h * headDim + d]!);
            return Math.exp(score - slope * (end[i]! - 1 - from - j));
          });
          const total = sum(weights.length, (j) => weights[j]!);
          logSums[h * queries + i] = Math.log(total);
          for (let d = 0; d < headDim; d++) {
            const value = (j: number) => v[(from + j) * row + h * headDim + d]!;
            expected[at + d] = sum(weights.length, (j) => (weights[j]! / total) * value(j));
          }
        }
      }
      expectNear(results[6]!, expected);
      expectNear(results[7]!, logSums);
    },
  );

  it('attends from one token to a cache', async () => {
    const [keys, heads, kvHeads, headDim, scale] = [37, 6, 3, 10, 0.7];
    const width = kvHeads * headDim;
    const [q, k, v] = [random(heads * headDim), random(keys * width), random(keys * width)];
    const [, , , o] = await onBoth([q, k, v], [q.length, keys], (module, [Q, K, V, O, scores]) => {
      module.attendOne(Q!, K!, V!, O!, keys, heads, kvHeads, headDim, scale, scores!);
    });
    const expected = Array.from(q, (_, at) => {
      const head = Math.floor(at / headDim);
      const group = Math.floor((head * kvHeads) / heads) * headDim;
      const weights = Array.from({ length: keys }, (_, j) =>
        Math.exp(scale * sum(headDim, (d) => q[head * headDim + d]! * k[j * width + group + d]!)),
      );
      const total = sum(keys, (j) => weights[j]!);
      return sum(keys, (j) => (weights[j]! / total) * v[j * width + group + (at % headDim)]!);
    });
    expectNear(o!, expected);
  });

  it('normalises, gates and rotates', async () => {
    const [rows, width, epsilon] = [5, 7, 1e-3];
    const [x, weight, dy] = [random(rows * width), random(width), random(rows * width)];
    const [, , , y] = await onBoth([x, weight, dy], [x.length, x.length, width], (module, [X, W, D, Y, dX, dW]) => {
      module.rmsNorm(X!, W!, rows, width, epsilon, Y!);
      module.rmsNormGradient(D!, X!, W!, rows, width, epsilon, dX!, dW!);
    });
    expectNear(
      y!,
      Array.from(x, (value, at) => {
        const row = Math.floor(at / width) * width;
        return (value * weight[at % width]!) / Math.sqrt(sum(width, (j) => x[row + j]! ** 2) / width + epsilon);
      }),
    );

    const pairs = random(rows * 2 * width);
    const [, , gated] = await onBoth([pairs, dy], [x.length, pairs.length], (module, [X, D, Y, dX]) => {
      module.swiGlu(X!, rows, width, Y!);
      module.swiGluGradient(D!, X!, rows, width, dX!);
    });
    expectNear(
      gated!,
      Array.from({ length: rows * width }, (_, at) => {
        const gate = Math.floor(at / width) * 2 * width + (at % width);
        return (pairs[gate]! / (1 + Math.exp(-pairs[gate]!))) * pairs[gate + width]!;
      }),
    );

    const [seq, heads, headDim] = [3, 2, 10];
    const [turned, cos, sin] = [
      random(seq * heads * headDim),
      random((seq * headDim) / 2),
      random((seq * headDim) / 2),
    ];
    const lengths = [turned.length, turned.length];
    const [, , , rotated, neighbours] = await onBoth([turned, cos, sin], lengths, (module, [X, C, S, Y, N]) => {
      module.rotate(X!, C!, S!, seq, seq, heads, headDim, 1, false, Y!);
      module.rotate(X!, C!, S!, seq, seq, heads, headDim, 1, true, N!);
    });
    expectNear(
      neighbours!,
      Array.from(turned, (value, at) => {
        const angle = Math.floor(at / (heads * headDim)) * (headDim / 2) + Math.floor((at % headDim) / 2);
        const other = at % 2 === 0 ? -turned[at + 1]! : turned[at - 1]!;
        return value * cos[angle]! + other * sin[angle]!;
      }),
    );
    expectNear(
      rotated!,
      Array.from(turned, (value, at) => {
        const [half, d] = [headDim / 2, at % headDim];
        const angle = Math.floor(at / (heads * headDim)) * half + (d % half);
        const other = d < half ? -turned[at + half]! : turned[at - half]!;
        return value * cos[angle]! + other * sin[angle]!;
      }),
    );
  });

  it('scores logits and their gradient, leaving out what is not counted', async () => {
    const [rows, vocab] = [4, 23];
    const [logits, dy] = [random(rows * vocab), random(rows)];
    const targets = Int32Array.of(3, -100, 22, 0);
    const [, , , losses, gradient] = await onBoth(
      [logits, dy, targets],
      [rows, logits.length],
      (module, [L, D, T, losses, gradient]) => module.crossEntropy(L!, T!, rows, vocab, losses!, D!, gradient!),
    );
    const total = (row: number) => sum(vocab, (j) => Math.exp(logits[row * vocab + j]!));
    expectNear(
      losses!,
      Array.from(targets, (target, row) => (target < 0 ? 0 : Math.log(total(row)) - logits[row * vocab + target]!)),
    );
    expectNear(
      gradient!,
      Array.from(logits, (value, at) => {
        const row = Math.floor(at / vocab);
        const hit = targets[row] === at % vocab ? 1 : 0;
        return targets[row]! < 0 ? 0 : dy[row]! * (Math.exp(value) / total(row) - hit);
      }),
    );
  });

  it('takes an AdamW step and sums squares', async () => {
    const n = 4103; // past one block of the sum, with a tail
    const [p, g, m] = [random(n), random(n), random(n)];
    const v = random(n).map(Math.abs);
    const [rate, beta1, beta2, epsilon, decay, inverseRoot, gradientScale] = [0.01, 0.9, 0.95, 1e-3, 0.999, 1.3, 0.5];
    const sums: number[] = [];
    const [newP, , newM, newV] = await onBoth([p, g, m, v], [], (module, [P, G, M, V], scratch) => {
      module.sumOfSquares(P!, n, scratch);
      sums.push(module.sumDoubles(scratch, 1));
      module.adamW(P!, G!, M!, V!, n, rate, beta1, beta2, epsilon, decay, inverseRoot, gradientScale);
    });
    const expectedM = m.map((value, i) => beta1 * value + (1 - beta1) * g[i]! * gradientScale);
    const expectedV = v.map((value, i) => beta2 * value + (1 - beta2) * (g[i]! * gradientScale) ** 2);
    expectNear(newM!, expectedM);
    expectNear(newV!, expectedV);
    expectNear(
      newP!,
      p.map((value, i) => value * decay - (rate * expectedM[i]!) / (Math.sqrt(expectedV[i]!) * inverseRoot + epsilon)),
    );
    expectNear(
      sums,
      [0, 1].map(() => sum(n, (i) => p[i]! ** 2)),
    );
  });
});
