import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';

/** Shape, beginning and size of a part; -1 takes the rest. */
const parts: readonly [number[], number[], number[]][] = [
  [[7], [2], [3]],
  [
    [5, 3],
    [0, 1],
    [-1, 1],
  ],
  [
    [5, 3],
    [2, 0],
    [2, -1],
  ],
  [
    [2, 3, 5],
    [1, 1, 2],
    [1, 2, 3],
  ],
  [
    [2, 3, 5, 7],
    [0, 1, 0, 3],
    [2, 1, 5, 2],
  ],
  [
    [3, 2, 37],
    [1, 0, 5],
    [2, 2, 31],
  ],
  [
    [2, 3, 5, 7, 2],
    [0, 0, 4, 0, 1],
    [2, 3, 1, 7, 1],
  ],
  [
    [5, 3],
    [1, 1],
    [0, 2],
  ],
];

/** The part, one number at a time. */
function plain(values: ArrayLike<number>, shape: number[], begin: number[], size: number[]): number[] {
  const width = size.map((count, i) => (count < 0 ? shape[i]! - begin[i]! : count));
  return Array.from({ length: width.reduce((a, b) => a * b, 1) }, (_, n) => {
    const place = tf.util.indexToLoc(n, width.length, tf.util.computeStrides(width));
    return values[place.reduce((at, p, i) => at * shape[i]! + begin[i]! + p, 0)]!;
  });
}

describeOnBackends('slice', (backend) => {
  it('takes parts of every rank and type', async () => {
    for (const dtype of ['float32', 'int32', 'bool'] as const) {
      for (const [shape, begin, size] of parts) {
        if (backend === 'webgpu' && size.includes(0)) continue; // has no buffer of size 0
        const x = tf.cast(tf.reshape(tf.range(0, tf.util.sizeFromShape(shape)), shape), dtype);
        const part = tf.slice(x, begin, size);
        expect(part.dtype).toBe(dtype);
        await expectClose(await part.data(), plain(await x.data(), shape, begin, size), 0);
        tf.dispose([x, part]);
      }
    }
  });

  it('has the gradient of central differences, leaves nothing behind and refuses what is outside', async () => {
    const x = tf.randomNormal([3, 2, 5], 0, 1, 'float32', 1);
    await expectGradient((x) => tf.slice(x!, [1, 0, 2], [2, 1, 3]), [x]);
    await expectNoLeak(() => tf.slice(x, [1, 0, 2], [2, 1, 3]));
    expect(() => tf.slice(x, [2, 0, 0], [2, 2, 5])).toThrow();
    x.dispose();
  });
});
