import { describe, expect, it } from 'vitest';
import { bfloat16ToFloat32, float32ToBfloat16 } from './bfloat16.js';
import { float16ToFloat32, float32ToFloat16 } from './float16.js';

const NAN = Number.NaN;
const INF = Number.POSITIVE_INFINITY;
const every16Bits = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The nearest of all `values` to x, the one with an even bit pattern of two equally near. */
function nearest(x: number, values: Float32Array): number {
  let best = 0;
  for (let bits = 0; bits < 0x8000; bits++) {
    const distance = Math.abs(values[bits] - x);
    const least = Math.abs(values[best] - x);
    if (distance < least || (distance === least && bits % 2 === 0)) best = bits;
  }
  return best;
}

describe('float16', () => {
  const values = float16ToFloat32(every16Bits);

  it('decodes known patterns', () => {
    const bits = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00, 0xfc00, 0x3555);
    expect([...float16ToFloat32(bits)]).toEqual([1, -2, 65504, 2 ** -14, 2 ** -24, -0, INF, -INF, 0.333251953125]);
    expect(float16ToFloat32(Uint16Array.of(0x7e00))[0]).toBeNaN();
  });

  it('gives back every pattern, and a NaN for a NaN', () => {
    const back = float16ToFloat32(float32ToFloat16(values));
    expect([...values.keys()].filter((bits) => !Object.is(back[bits], values[bits]))).toEqual([]);
  });

  it('rounds every midpoint to even, and its neighbours to the nearer side', () => {
    for (let bits = 0; bits < 0x7bff; bits++) {
      const middle = (values[bits] + values[bits + 1]) / 2; // exact in float32
      const word = new Uint32Array(Float32Array.of(middle).buffer)[0];
      const [below, above] = new Float32Array(Uint32Array.of(word - 1, word + 1).buffer);
      const rounded = float32ToFloat16(Float32Array.of(below, middle, above, -middle));
      const even = bits + (bits & 1);
      if (rounded[0] !== bits || rounded[1] !== even || rounded[2] !== bits + 1 || rounded[3] !== (even | 0x8000)) {
        expect([bits, ...rounded]).toEqual([bits, bits, even, bits + 1, even | 0x8000]);
      }
    }
  });

  it('rounds to the nearest of all values', () => {
    for (const x of [Math.PI, 1e-7, 3e-8, 2.98e-8, 6e-5, 0.1, 1234.5678, 65503.9]) {
      expect(float32ToFloat16(Float32Array.of(x))[0], `${x}`).toBe(nearest(Math.fround(x), values));
    }
  });

  it('overflows from 65520, keeps infinities and NaN', () => {
    const x = Float32Array.of(65519.99, 65520, 1e30, -1e30, INF, -INF, NAN);
    expect([...float32ToFloat16(x)]).toEqual([0x7bff, 0x7c00, 0x7c00, 0xfc00, 0x7c00, 0xfc00, 0x7e00]);
  });

  it('converts 8 million values in under a second', () => {
    const x = new Float32Array(8_000_000).map((_, i) => (i % 2003) / 1000 - 1);
    const start = performance.now();
    const bits = float32ToFloat16(x);
    expect(performance.now() - start).toBeLessThan(1000);
    expect(float16ToFloat32(bits.subarray(0, 3))[1]).toBeCloseTo(-0.999, 3);
  });

  it('reads a view into a larger buffer', () => {
    const x = new Float32Array([9, 1, 2, 9]).subarray(1, 3);
    expect([...float16ToFloat32(float32ToFloat16(x))]).toEqual([1, 2]);
    expect([...bfloat16ToFloat32(float32ToBfloat16(x))]).toEqual([1, 2]);
  });
});

describe('bfloat16', () => {
  const values = bfloat16ToFloat32(every16Bits);

  it('gives back every pattern but signalling NaNs', () => {
    const back = float32ToBfloat16(values);
    for (let bits = 0; bits < 65536; bits++) {
      const expected = Number.isNaN(values[bits]) ? bits | 0x40 : bits;
      if (back[bits] !== expected) expect(back[bits]).toBe(expected);
    }
  });

  it('rounds to nearest, ties to even, and overflows to infinity', () => {
    const words = Uint32Array.of(0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0xff7fffff);
    const rounded = float32ToBfloat16(new Float32Array(words.buffer));
    expect([...rounded]).toEqual([0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7f80, 0xff80]);
  });

  it('keeps a NaN whose payload is in the lower bits a NaN', () => {
    expect(float32ToBfloat16(new Float32Array(Uint32Array.of(0x7f800001).buffer))[0]).toBe(0x7fc0);
  });
});
