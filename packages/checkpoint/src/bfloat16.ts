/**
 * Rounds float32 to bfloat16 (the upper 16 bits), round to nearest, ties to even. A NaN stays a quiet NaN.
 *
 * @param x any length.
 * @returns the bit patterns, same length; a new array.
 */
export function float32ToBfloat16(x: Float32Array): Uint16Array {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const result = new Uint16Array(x.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i];
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    result[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return result;
}

/**
 * Widens bfloat16 bit patterns to float32, exactly.
 *
 * @param bits any length.
 * @returns same length; a new array.
 */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return new Float32Array(words.buffer);
}
