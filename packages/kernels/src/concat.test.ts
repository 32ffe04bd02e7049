import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';

describeOnBackends('concat of int32', () => {
  /** Numbers with all 32 bits in use, which float32 cannot hold. */
  const words = (...shape: number[]) =>
    tf.tensor(
      Int32Array.from({ length: tf.util.sizeFromShape(shape) }, (_, i) => Math.imul(i + 1, 0x7f4a7c15)),
      shape,
      'int32',
    );

  it('keeps every bit along every axis, empty parts left out', async () => {
    for (const axis of [0, 1, 2, -1]) {
      const at = (axis + 3) % 3;
      const parts = [2, 0, 5, 3].map((size) => words(...[17, 23, 13].with(at, size)));
      const joined = tf.concat(parts, axis);
      expect(joined.shape).toEqual([17, 23, 13].with(at, 10));
      const inner = [17, 23, 13].slice(at + 1).reduce((product, size) => product * size, 1);
      const arrays = await Promise.all(parts.map((part) => part.data()));
      const expected: number[] = [];
      for (let outer = 0; expected.length < joined.size; outer++) {
        for (const [i, size] of [2, 0, 5, 3].entries()) {
          expected.push(...arrays[i]!.subarray(outer * size * inner, (outer + 1) * size * inner));
        }
      }
      expect([...(await joined.data())]).toEqual(expected);
      await expectNoLeak(() => tf.concat(parts, axis));
      tf.dispose([parts, joined]);
    }
  });
});
