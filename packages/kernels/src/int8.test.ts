import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type PackedInt8, packInt8, packInt8Reference, unpackInt8, unpackInt8Reference } from './index.js';

/** Half a step, and float32's rounding of a quotient near it. */
const HALF = 0.5 + 1e-4;

/** Rows of several sizes, zeros among them, and widths that fill whole vectors and that do not. */
const inputs = (): tf.Tensor[] => [
  tf.tidy(() => {
    const rows = tf.randomNormal([2, 3, 5, 20], 0, 1, 'float32', 3);
    return tf.mul(rows, tf.reshape(tf.tensor1d([1e-3, 1, 0, 700, 5]), [1, 1, 5, 1]));
  }),
  tf.randomNormal([7, 64], 0, 1, 'float32', 5),
  tf.tensor2d([[-3, 3, 1, -2]]),
  tf.tensor2d([[1, -1, 1, -1, -1, -1, -1, -1, 1, 1, 1, 1]]),
];

describeOnBackends('packInt8', (backend) => {
  it('moves no number by more than half a scale', async () => {
    for (const x of inputs()) {
      const packed = packInt8(x);
      const back = unpackInt8(packed);
      expect([back.shape, packed.packed.dtype, packed.packed.size]).toEqual([x.shape, 'int32', x.size / 4]);
      const [values, rounded, scales] = [await x.data(), await back.data(), await packed.scales.data()];
      const width = x.shape.at(-1)!;
      const moves = Array.from(values, (value, i) => {
        return Math.abs(value - rounded[i]!) / (scales[Math.floor(i / width)]! || 1);
      });
      expect(Math.max(...moves)).toBeLessThanOrEqual(HALF);
      tf.dispose([x, back, { ...packed }]);
    }
  });

  it('unpacks the first rows of each item where they lie', async () => {
    const x = tf.randomNormal([3, 7, 2, 20], 0, 1, 'float32', 3);
    const packed = packInt8(x);
    const whole = unpackInt8(packed);
    for (const rows of [1, 5, 7]) {
      const [first, expected] = [unpackInt8(packed, rows), tf.slice(whole, [0, 0], [-1, rows])];
      await expectClose(first, expected, 0);
      tf.dispose([first, expected]);
    }
    tf.dispose([x, { ...packed }, whole]);
  });

  it('keeps the integers of one packed number a quarter of the row apart', async () => {
    const x = tf.tensor2d([[127, -127, 3, -4, 50, 60, -70, -80]]);
    const { packed, scales } = packInt8(x);
    const number = (...q: [number, number, number, number]) =>
      q[0] + 128 + 2 ** 8 * (q[1] + 128) + 2 ** 16 * (q[2] + 128) + 2 ** 24 * q[3];
    await expectClose(packed, [number(127, 3, 50, -70), number(-127, -4, 60, -80)], 0);
    await expectClose(scales, [1], 0);
    tf.dispose([x, packed, scales]);
  });

  // tfjs's integer arithmetic on WebGPU goes through float32, which cannot hold four bytes: there is the shader only.
  it.skipIf(backend === 'webgpu')('equals its plain form, way back included', async () => {
    for (const x of inputs()) {
      const [fast, plain] = [packInt8(x), packInt8Reference(x)];
      await expectClose(fast.scales, plain.scales, 1e-6);
      await expectClose(fast.packed, plain.packed, 0);
      const [fastBack, plainBack] = [unpackInt8(plain), unpackInt8Reference(plain)];
      await expectClose(fastBack, plainBack, 1e-6);
      tf.dispose([x, { ...fast }, { ...plain }, fastBack, plainBack]);
    }
  });

  it('leaves nothing behind, and refuses a width that does not fill int32', async () => {
    const x = tf.randomNormal([3, 8], 0, 1, 'float32', 7);
    await expectNoLeak(() => {
      const packed: PackedInt8 = packInt8(x);
      return [{ ...packed }, unpackInt8(packed)];
    });
    const odd = tf.ones([3, 6]);
    const whole = tf.ones([3, 8], 'int32');
    expect(() => packInt8(whole)).toThrow('packInt8: x must be float32, got int32; cast it first.');
    const { packed, scales } = packInt8(x);
    expect(() => unpackInt8({ packed, scales }, 2)).toThrow('rows must be a whole number from 0 to 2');
    expect(() => unpackInt8({ packed, scales: tf.reshape(scales, [1, 3]) })).toThrow(
      'expected int32 packed and float32 scales [3,1], got int32 [3,2] and float32 [1,3].',
    );
    expect(() => packInt8(odd)).toThrow('packInt8: the last axis must be a multiple of 4, got [3,6]');
    tf.dispose([x, odd]);
  });
});
