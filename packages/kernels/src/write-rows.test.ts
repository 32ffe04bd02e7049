import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { writeRows, writeRowsReference } from './index.js';

/** Room of our own, as a kernel filled it; on some backends a small tensor else waits on the host for its first use. */
const room = (dtype: 'float32' | 'int32', shape: readonly number[] = [3, 11, 2, 5]) =>
  tf.tidy(() => tf.add(tf.zeros([...shape], dtype), tf.scalar(7, dtype)));
const fresh = (dtype: 'float32' | 'int32', seq = 3) =>
  tf.tidy(() => tf.cast(tf.mul(tf.randomNormal([3, seq, 2, 5], 0, 1, 'float32', 5), 100), dtype));

describeOnBackends('writeRows', (backend) => {
  for (const dtype of ['float32', 'int32'] as const) {
    it(`equals its plain form: ${dtype}`, async () => {
      for (const starts of [
        [0, 0, 0],
        [2, 0, 8],
        [8, 8, 8],
      ]) {
        const [target, rows] = [room(dtype), fresh(dtype)];
        const plain = writeRowsReference(target, rows, starts);
        const written = writeRows(target, rows, starts);
        await expectClose(written, plain, 0);
        tf.dispose([target, rows, plain, written]);
      }
    });
  }

  it.skipIf(backend === 'cpu')('writes in place, again and again, where others have read before', async () => {
    const target = room('float32');
    const before = tf.memory();
    for (const start of [0, 3, 5]) {
      const rows = fresh('float32');
      await target.data(); // a copy on the host must not outlive the writing
      expect(writeRows(target, rows, [start, start, start])).toBe(target);
      const part = tf.slice(target, [0, start], [-1, 3]);
      await expectClose(part, rows, 0);
      tf.dispose([rows, part]);
    }
    expect([tf.memory().numTensors, tf.memory().numBytes]).toEqual([before.numTensors, before.numBytes]);
    target.dispose();
  });

  it('never changes a tensor that shares the memory', async () => {
    const rows = fresh('float32');
    for (const share of [tf.clone, (x: tf.Tensor) => tf.reshape(x, [33, 10])]) {
      const target = room('float32');
      const other = share(target);
      const plain = writeRowsReference(target, rows, [1, 2, 3]);
      const written = writeRows(target, rows, [1, 2, 3]);
      await expectClose(written, plain, 0);
      await expectClose(other, new Array(330).fill(7), 0);
      tf.dispose([target, other, plain, written]);
    }
    rows.dispose();
  });

  it('takes rows of numbers and no rows', async () => {
    const [target, rows, none] = [room('float32', [2, 7]), tf.tensor2d([[1], [2]]), tf.zeros([2, 0])];
    expect(writeRows(target, none, [3, 7])).toBe(target);
    const written = writeRows(target, rows, [0, 6]);
    expect(written === target).toBe(backend !== 'cpu');
    await expectClose(written, [1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2], 0);
    tf.dispose([target, rows, none, written]);
  });

  it('leaves nothing behind', async () => {
    const rows = fresh('float32');
    await expectNoLeak(() => {
      const target = room('float32');
      return [target, writeRowsReference(target, rows, [1, 2, 3]), writeRows(target, rows, [1, 2, 3])];
    });
    rows.dispose();
  });

  it('refuses what does not fit, before it writes anything', async () => {
    const [target, rows, whole] = [room('float32'), fresh('float32'), fresh('int32')];
    expect(() => writeRows(target, whole as tf.Tensor, [0, 0, 0])).toThrow(
      'writeRows: rows must be float32 [3,seq,2,5] like target, got int32 [3,3,2,5].',
    );
    const narrow = tf.ones([3, 3, 5]);
    expect(() => writeRows(target, narrow as tf.Tensor, [0, 0, 0])).toThrow('got float32 [3,3,5]');
    expect(() => writeRows(target, rows, [0, 0])).toThrow('one number for each of 3 items, got [0,0]');
    for (const bad of [9, -1, 0.5])
      expect(() => writeRows(target, rows, [0, bad, 0])).toThrow(
        `3 rows from ${bad} do not fit the 11 rows of item 1.`,
      );
    await expectClose(target, new Array(330).fill(7), 0);
    tf.dispose([target, rows, whole, narrow]);
  });
});
