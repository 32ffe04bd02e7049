import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { float16ToFloat32 } from './float16.js';
import { type PackedDtype, packRows, unpackRows } from './pack-rows.js';

/** By how much rounding may move a number: half a step of what it becomes, or half a scale. */
const moveOf = (dtype: PackedDtype, value: number, scale: number) => {
  if (dtype === 'int8') return scale / 2;
  return dtype === 'bfloat16'
    ? Math.max(Math.abs(value) * 2 ** -8, 2 ** -134)
    : Math.max(Math.abs(value) * 2 ** -11, 2 ** -25);
};

const finite = (largest: number) => fc.float({ noNaN: true, noDefaultInfinity: true, min: -largest, max: largest });

describe('packRows', () => {
  it.each(['int8', 'bfloat16', 'float16'] as const)('moves no number further than %s must', (dtype) => {
    const largest = dtype === 'float16' ? 65504 : Math.fround(3.3e38);
    const rows = fc
      .integer({ min: 1, max: 7 })
      .chain((columns) =>
        fc.array(fc.array(finite(largest), { minLength: columns, maxLength: columns }), { minLength: 1 }),
      );
    fc.assert(
      fc.property(rows, (matrix) => {
        const shape = [matrix.length, matrix[0].length] as const;
        const values = Float32Array.from(matrix.flat());
        const packed = packRows(values, shape, dtype);
        const back = unpackRows(packed, shape, dtype);
        for (const [i, value] of values.entries()) {
          const scale = packed.scales?.[Math.floor(i / shape[1])] ?? 0;
          const rounding = dtype === 'int8' ? Math.abs(back[i]) * 2 ** -24 + 2 ** -150 : 0; // of the product in float32
          expect(Math.abs(back[i] - value)).toBeLessThanOrEqual(moveOf(dtype, value, scale) + rounding);
        }
      }),
    );
  });

  it('fills rows up with zeros to whole int32, the first number in the lowest bits', () => {
    expect([...packRows(Float32Array.of(1, -2, 0.5), [1, 3], 'bfloat16').packed]).toEqual([0xc0003f80 | 0, 0x3f00]);
    expect([...packRows(Float32Array.of(1, -2, 0.5), [1, 3], 'float16').packed]).toEqual([0xc0003c00 | 0, 0x3800]);
    const { packed, scales } = packRows(Float32Array.of(127, -127, 3, -4, 5, 254, 2, -2, 0, -6), [2, 5], 'int8');
    expect([...new Int8Array(packed.buffer)]).toEqual([127, -127, 3, -4, 5, 0, 0, 0, 127, 1, -1, 0, -3, 0, 0, 0]);
    expect([...scales!]).toEqual([1, 2]);
  });

  it('rounds whole numbers and a half to the even neighbour', () => {
    const values = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5);
    expect([...new Int8Array(packRows(values, [1, 8], 'int8').packed.buffer)]).toEqual([127, 0, 2, 2, 0, -2, -2, 126]);
  });

  it('keeps rows of zeros, and the smallest numbers there are', () => {
    for (const dtype of ['int8', 'bfloat16', 'float16'] as const) {
      const packed = packRows(new Float32Array(6), [2, 3], dtype);
      expect([...unpackRows(packed, [2, 3], dtype)]).toEqual([0, 0, 0, 0, 0, 0]);
    }
    const least = Float32Array.of(2 ** -149, -3 * 2 ** -149, 63 * 2 ** -149);
    expect([...unpackRows(packRows(least, [1, 3], 'int8'), [1, 3], 'int8')]).toEqual([...least]);
  });

  it('keeps what is a half already, bit by bit', () => {
    const bits = Uint16Array.from({ length: 0x7c00 }, (_, i) => i);
    const { packed } = packRows(float16ToFloat32(bits), [31, 1024], 'float16');
    expect(new Uint16Array(packed.buffer)).toEqual(bits);
  });

  it('refuses by name what it cannot hold', () => {
    const bad = (value: number) => Float32Array.of(1, 2, 3, 4, value, 6);
    for (const dtype of ['int8', 'bfloat16', 'float16'] as const) {
      expect(() => packRows(bad(Number.NaN), [2, 3], dtype)).toThrow('packRows: NaN at row 1, column 1 is not finite.');
      expect(() => packRows(bad(-Infinity), [2, 3], dtype)).toThrow('-Infinity at row 1, column 1 is not finite.');
    }
    expect(() => packRows(bad(65520), [2, 3], 'float16')).toThrow(
      'packRows: 65520 at row 1, column 1 is too large for float16; use bfloat16 or int8.',
    );
    expect(() => packRows(bad(3.4e38), [2, 3], 'bfloat16')).toThrow('too large for bfloat16; use int8.');
    expect(() => packRows(bad(5), [2, 5], 'int8')).toThrow('expected 2 x 5 = 10 values, got 6.');
    expect(() => unpackRows({ packed: new Int32Array(2) }, [2, 3], 'int8')).toThrow(
      'unpackRows: expected 2 words and 2 scales for 2 x 3 int8, got 2 and no.',
    );
  });
});
