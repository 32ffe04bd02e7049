import type { Element, Program } from './recorder.js';

/** How a program takes the numbers of a row: one by one, or four at a time where the width divides by four. */
export interface Lanes {
  readonly element: Element;
  /** WGSL: the type `V` of an element and `total(v)`, the sum of its numbers. */
  readonly types: string;
}

const one: Lanes = { element: 'f32', types: 'alias V = f32;\nfn total(v: V) -> f32 { return v; }' };
const four: Lanes = { element: 'vec4f', types: 'alias V = vec4f;\nfn total(v: V) -> f32 { return dot(v, V(1)); }' };

/** Writes a program in both forms. What it returns picks one for rows of `width` numbers and counts their elements. */
export function byWidth(write: (lanes: Lanes) => Program): (width: number) => { program: Program; width: number } {
  const [scalar, vector] = [write(one), write(four)];
  return (width) => (width % 4 === 0 ? { program: vector, width: width / 4 } : { program: scalar, width });
}
