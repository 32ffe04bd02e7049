import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { writeBlock, writeBlockReference, writeTransposed } from './index.js';

/** A stack of our own, as a kernel filled it; on some backends a small tensor else waits on the host for its first use. */
const stackOf = (...shape: number[]) => tf.tidy(() => tf.add(tf.zeros(shape), tf.scalar(7)));
const fresh = (height: number, width: number) => tf.randomNormal<tf.Rank.R2>([height, width], 0, 1, 'float32', 5);
const places = [
  { matrix: 0, row: 0, column: 0 },
  { matrix: 2, row: 1, column: 6 },
  { matrix: 5, row: 4, column: 10 },
];

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
    const [matrix, target] = [fresh(37, 601), stackOf(601, 37)];
    let held = target;
    for (const [start, count] of [
      [0, 17],
      [17, 19],
      [36, 1],
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
