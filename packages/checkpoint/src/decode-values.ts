import { float16Words } from './float16.js';

/** Types that `decodeValues` turns into float32; I8 are whole numbers from -128 to 127. */
export type DecodableDtype = 'F32' | 'F16' | 'BF16' | 'I8';

/**
 * Widens stored values to float32, exactly, in one pass over both arrays.
 *
 * @param bytes little-endian values; they must start at a multiple of 4 in their buffer.
 * @param target as many values; overwritten.
 */
export function decodeValues(dtype: DecodableDtype, bytes: Uint8Array, target: Float32Array): void {
  const { buffer, byteOffset } = bytes;
  switch (dtype) {
    case 'F32':
      target.set(new Float32Array(buffer, byteOffset, target.length));
      break;
    case 'I8':
      target.set(new Int8Array(buffer, byteOffset, target.length));
      break;
    case 'F16':
      decodeHalves(bytes, target);
      break;
    case 'BF16':
      decodeBrainHalves(bytes, target);
  }
}

/** Two values of a word at a time: the upper half of a float32 is the bfloat16. */
function decodeBrainHalves({ buffer, byteOffset }: Uint8Array, target: Float32Array): void {
  const pairs = new Int32Array(buffer, byteOffset, target.length >> 1);
  const words = new Int32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0, o = 0; i < pairs.length; i++, o += 2) {
    const pair = pairs[i];
    words[o] = pair << 16;
    words[o + 1] = pair & -65536;
  }
  if (target.length % 2 === 0) return;
  const last = target.length - 1;
  words[last] = new Uint16Array(buffer, byteOffset + 2 * last, 1)[0] << 16;
}

function decodeHalves({ buffer, byteOffset }: Uint8Array, target: Float32Array): void {
  const halves = new Uint16Array(buffer, byteOffset, target.length);
  const words = new Int32Array(target.buffer, target.byteOffset, target.length);
  const table = float16Words();
  for (let i = 0; i < halves.length; i++) words[i] = table[halves[i]];
}
