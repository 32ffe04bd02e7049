import { type FrozenDtype, WEIGHTS_PER_WORD } from '../frozen-matrix.js';
import type { Weights } from './grouped-product.js';
import type { Element } from './recorder.js';

/**
 * WGSL: the number `place`, from the lowest bytes on, of an int32. Core language, without a feature: halves need no
 * `shader-f16`, whole numbers no packed dot product.
 */
const PART: Readonly<Record<FrozenDtype, string>> = {
  int8: 'f32(extractBits(word, 8u * place, 8u))',
  bfloat16: 'bitcast<f32>((word >> (16u * place)) << 16u)',
  float16: 'unpack2x16float(bitcast<u32>(word) >> (16u * place)).x',
};

/** A dtype as shaders read it. */
export interface Packed {
  readonly dtype: FrozenDtype;
  readonly perWord: number;
  readonly inputs: Readonly<Record<string, Element>>;
  /** WGSL at module scope: `fn part(word: i32, place: u32) -> f32` without its scale, and `fn scaleOf(row: u32) -> f32`. */
  readonly code: string;
}

export function packedAs(dtype: FrozenDtype): Packed {
  const scaled = dtype === 'int8';
  return {
    dtype,
    perWord: WEIGHTS_PER_WORD[dtype],
    inputs: { packed: 'i32', ...(scaled && { scales: 'f32' }) },
    code: `
fn part(word: i32, place: u32) -> f32 { return ${PART[dtype]}; }
fn scaleOf(row: u32) -> f32 { return ${scaled ? 'scales[row]' : '1.0'}; }`,
  };
}

/**
 * Packed matrices `[experts, outputSize, words]` in a product: columns are outputs, or backward the inner dimension is.
 * Every number is thawed on its way into workgroup memory; neighbouring threads find theirs in the same int32.
 */
export function packedWeights(packed: Packed, backward: boolean): Weights {
  const [outputs, row, at] = backward ? ['u.inner', 'k', 'column'] : ['u.columns', 'column', 'k'];
  return {
    name: `FrozenMatMul of ${packed.dtype}${backward ? ', backward' : ''}`,
    layout: backward ? 'across' : 'down',
    inputs: packed.inputs,
    uniforms: { words: 'u32' },
    code: `
${packed.code}
fn weight(expert: u32, k: u32, column: u32) -> f32 {
  let row = expert * ${outputs} + ${row};
  return part(packed[row * u.words + ${at} / ${packed.perWord}u], ${at} % ${packed.perWord}u) * scaleOf(row);
}`,
  };
}
