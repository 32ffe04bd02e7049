import { expect, it } from 'vitest';
import { bfloat16ToFloat32 } from './bfloat16.js';
import { decodeValues } from './decode-values.js';
import { float16ToFloat32 } from './float16.js';

const every16Bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array | Int8Array | Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);
/** Targets are never fresh: what was there before must not matter. */
const used = (length: number) => new Float32Array(length).fill(9);

it('widens every pattern of 16 bits as the functions that make new arrays do', () => {
  for (const [dtype, widen] of [
    ['F16', float16ToFloat32],
    ['BF16', bfloat16ToFloat32],
  ] as const) {
    const target = used(65536);
    decodeValues(dtype, bytesOf(every16Bits), target);
    expect(target).toEqual(widen(every16Bits));
  }
});

it('takes an odd number of values, and one', () => {
  for (const length of [1, 7]) {
    for (const dtype of ['F16', 'BF16'] as const) {
      const [bits, target] = [every16Bits.slice(16000, 16000 + length), used(length)];
      decodeValues(dtype, bytesOf(bits), target);
      expect(target).toEqual((dtype === 'F16' ? float16ToFloat32 : bfloat16ToFloat32)(bits));
    }
  }
});

it('takes whole numbers of 8 bits, and float32 as it is', () => {
  const [integers, floats] = [Int8Array.of(-128, -1, 0, 1, 127), Float32Array.of(0.5, -3, 1e30)];
  const [fromIntegers, fromFloats] = [used(5), used(3)];
  decodeValues('I8', bytesOf(integers), fromIntegers);
  decodeValues('F32', bytesOf(floats), fromFloats);
  expect([...fromIntegers]).toEqual([...integers]);
  expect(fromFloats).toEqual(floats);
});
