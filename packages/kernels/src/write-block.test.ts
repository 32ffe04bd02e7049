import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type HalfBlock, unfilled, writeBlock, writeBlockReference, writesBlocks, writeTransposed } from './index.js';

/** A stack of our own, as a kernel filled it; on some backends a small tensor else waits on the host for its first use. */
const stackOf = (...shape: number[]) => tf.tidy(() => tf.add(tf.zeros(shape), tf.scalar(7)));
const fresh = (height: number, width: number) => tf.randomNormal<tf.Rank.R2>([height, width], 0, 1, 'float32', 5);
const places = [
  { matrix: 0, row: 0, column: 0 },
  { matrix: 2, row: 1, column: 6 },
  { matrix: 5, row: 4, column: 10 },
];

/** The value of 16 bits by the definition of each format. */
const widened = {
  bfloat16: (bits: number) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!,
  float16: (bits: number) => {
    const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction ? Number.NaN : sign / 0;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  },
};

/** Every 16 bits there are, from `first` on and again, as a file has them. */
function halves(dtype: HalfBlock['dtype'], shape: HalfBlock['shape'], first = 0): HalfBlock & { values: Float32Array } {
  const size = shape[0] * shape[1];
  const bits = Uint16Array.from({ length: size + (size % 2) }, (_, i) => first + i);
  const values = Float32Array.from(bits.subarray(0, size), widened[dtype]);
  return { dtype, shape, words: tf.tensor1d(new Int32Array(bits.buffer), 'int32'), values };
}

describeOnBackends('writeBlock', (backend) => {
  it('puts a block where it belongs and nothing else', async () => {
    const [target, block] = [stackOf(2, 3), tf.tensor2d([[1, 2]])];
    const written = writeBlock(target, block, { matrix: 0, row: 1, column: 1 });
    await expectClose(written, [7, 7, 7, 7, 1, 2], 0);
    const turned = writeTransposed(written, block, { matrix: 0, row: 0, column: 0 });
    await expectClose(turned, [1, 7, 7, 2, 1, 2], 0);
    tf.dispose([target, block, written, turned]);
  });

  for (const place of places) {
    it(`equals its plain form at ${Object.values(place)}, as it is and transposed`, async () => {
      const [target, block] = [stackOf(2, 3, 23, 29), fresh(19, 13)];
      const across = tf.transpose(block);
      const plain = writeBlockReference(target, block, place);
      const transposed = writeTransposed(target, across, place);
      await expectClose(transposed, plain, 0);
      const fill = tf.fill<tf.Rank.R2>([19, 13], 7);
      const cleared = writeBlock(transposed, fill, place);
      const written = writeBlock(cleared, block, place);
      await expectClose(written, plain, 0);
      tf.dispose([target, block, across, plain, transposed, fill, cleared, written]);
    });
  }

  it('fills a matrix of more rows than one call writes, block by block', async () => {
    const [matrix, target] = [fresh(257, 601), stackOf(601, 257)];
    let held = target;
    for (const [start, count] of [
      [0, 17],
      [17, 239], // enough for all threads
      [256, 1],
    ] as const) {
      const block = tf.slice(matrix, [start, 0], [count, -1]) as tf.Tensor2D;
      const next = writeTransposed(held, block, { matrix: 0, row: 0, column: start });
      tf.dispose(next === held ? [block] : [block, held]);
      held = next;
    }
    const transposed = tf.transpose(matrix);
    await expectClose(held, transposed, 0);
    tf.dispose([matrix, held, transposed]);
  });

  it.skipIf(backend === 'cpu')('writes in place, where others have read before', async () => {
    const [target, block] = [stackOf(3, 5, 7), fresh(2, 3)];
    await target.data(); // a copy on the host must not outlive the writing
    const before = tf.memory();
    expect(writeTransposed(target, block, { matrix: 1, row: 2, column: 4 })).toBe(target);
    expect(tf.memory().numBytes).toBe(before.numBytes);
    const part = tf.slice(target, [1, 2, 4], [1, 3, 2]);
    const transposed = tf.transpose(block);
    const matrix = tf.reshape(part, [3, 2]);
    await expectClose(matrix, transposed, 0);
    tf.dispose([target, block, part, matrix, transposed]);
  });

  for (const dtype of ['bfloat16', 'float16'] as const) {
    it.skipIf(backend === 'cpu')(`widens every ${dtype} exactly, as it is and transposed`, async () => {
      const [block, target, across] = [halves(dtype, [601, 256]), stackOf(601, 256), stackOf(256, 601)];
      const corner = { matrix: 0, row: 0, column: 0 };
      expect(writeBlock(target, block, corner)).toBe(target);
      expect(writeTransposed(across, block, corner)).toBe(across);
      const [straight, turned] = [await target.data(), await across.data()];
      const wrong = block.values.findIndex(
        (value, i) => !Object.is(straight[i], value) || !Object.is(turned[(i % 256) * 601 + (i >> 8)], value),
      );
      expect(wrong).toBe(-1);
      tf.dispose([block.words, target, across]);
    });

    for (const [shape, place] of [
      [[19, 13], places[1]!],
      [[19, 29], { matrix: 2, row: 3, column: 0 }],
      [[18, 13], places[2]!],
    ] as const) {
      it.skipIf(backend === 'cpu')(`places ${dtype} [${shape}] like float32 at ${Object.values(place)}`, async () => {
        const block = halves(dtype, shape, 0x3f80);
        const plain = tf.tensor2d(block.values, [...shape]);
        const [target, across] = [stackOf(2, 3, 23, 29), stackOf(2, 3, 29, 23)];
        const corner = { matrix: place.matrix, row: place.column, column: place.row };
        const [expected, turned] = [
          writeBlockReference(target, plain, place),
          tf.tidy(() => writeBlockReference(across, tf.transpose(plain), corner)),
        ];
        expect(writeBlock(target, block, place)).toBe(target);
        await expectClose(target, expected, 0);
        expect(writeTransposed(across, block, corner)).toBe(across);
        await expectClose(across, turned, 0);
        tf.dispose([block.words, plain, target, across, expected, turned]);
      });
    }
  }

  it.skipIf(backend === 'cpu')(
    'keeps what shares the memory from 16-bit floats too, and leaves nothing behind',
    async () => {
      const { values, ...block } = halves('bfloat16', [2, 3], 0x3f80);
      const target = stackOf(5, 7);
      const other = tf.reshape(target, [7, 5]);
      const before = tf.memory().numTensors;
      const written = writeBlock(target, block, { matrix: 0, row: 1, column: 2 });
      expect(tf.memory().numTensors).toBe(before + Number(written !== target));
      await expectClose(other, new Array(35).fill(7), 0);
      tf.dispose([target, other, written, block.words]);
    },
  );

  it('fills memory that nobody cleared', async () => {
    const [target, block] = [unfilled([3, 5, 7]), fresh(5, 7)];
    const filled = [0, 1, 2].reduce((held, matrix) => {
      const next = writeBlock(held, block, { matrix, row: 0, column: 0 });
      if (next !== held) held.dispose();
      return next;
    }, target);
    const expected = tf.tidy(() => tf.stack([block, block, block]));
    await expectClose(filled, expected, 0);
    tf.dispose([filled, block, expected]);
  });

  it('says where 16-bit floats cannot be written, and that their words must be as many', () => {
    expect(writesBlocks()).toBe(backend !== 'cpu');
    const [{ words }, target] = [halves('float16', [2, 3]), stackOf(5, 7)];
    const block: HalfBlock = { dtype: 'float16', shape: [2, 3], words };
    if (backend === 'cpu')
      expect(() => writeBlock(target, block, places[0]!)).toThrow("the backend 'cpu' has no kernel for float16");
    expect(() => writeBlock(target, { ...block, shape: [3, 3] }, places[0]!)).toThrow('float16 [3,3] in int32 [3]');
    tf.dispose([words, target]);
  });

  it('never changes a tensor that shares the memory', async () => {
    const [target, block] = [stackOf(5, 7), fresh(2, 3)];
    const other = tf.reshape(target, [7, 5]);
    const written = writeBlock(target, block, { matrix: 0, row: 1, column: 2 });
    await expectClose(other, new Array(35).fill(7), 0);
    tf.dispose([target, other, written, block]);
  });

  it('leaves nothing behind', async () => {
    const block = fresh(2, 3);
    await expectNoLeak(() => {
      const target = stackOf(5, 7);
      const place = { matrix: 0, row: 1, column: 2 };
      return [target, writeBlockReference(target, block, place), writeTransposed(target, block, place)];
    });
    block.dispose();
  });

  it('refuses what does not fit, before it writes anything', async () => {
    const [target, block] = [stackOf(3, 5, 7), fresh(2, 3)];
    for (const [place, says] of [
      [{ matrix: 3, row: 0, column: 0 }, 'of matrix 3 do not fit 3 matrices of [5, 7]'],
      [{ matrix: 0, row: 4, column: 0 }, '2 rows and 3 columns from row 4'],
      [{ matrix: 0, row: 0, column: 0.5 }, 'column 0.5'],
    ] as const)
      expect(() => writeBlock(target, block, place)).toThrow(says);
    expect(() => writeTransposed(target, block, { matrix: 0, row: 3, column: 0 })).toThrow('3 rows and 2 columns');
    expect(() => writeBlock(tf.tensor1d([1]), block, places[0]!)).toThrow('got float32 [1] and float32 [2,3]');
    await expectClose(target, new Array(105).fill(7), 0);
    tf.dispose([target, block]);
  });
});
