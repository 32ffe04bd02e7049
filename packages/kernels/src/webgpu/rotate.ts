import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import { byWidth } from './by-width.js';
import type { Program, Recorder } from './recorder.js';
import { MAIN, THREADS, threadsFor } from './workgroups.js';

/** A thread for each pair, or for four pairs side by side; `half` counts such pieces in a head. */
const halves = byWidth(({ element, types }) => ({
  name: 'Rotate, half-split',
  outputs: { y: element },
  inputs: { x: element, cos: element, sin: element },
  uniforms: { pairs: 'u32', half: 'u32', heads: 'u32', positions: 'u32', direction: 'f32' },
  code: `
${types}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.pairs) { return; }
  let head = i / u.half;
  let angle = head / u.heads % u.positions * u.half + i % u.half;
  let at = head * 2u * u.half + i % u.half;
  let c = cos[angle];
  let s = u.direction * sin[angle];
  let a = x[at];
  let b = x[at + u.half];
  y[at] = a * c - b * s;
  y[at + u.half] = b * c + a * s;
}`,
}));

/** A thread for each pair. */
const neighbours: Program = {
  name: 'Rotate, interleaved',
  outputs: { y: 'f32' },
  inputs: { x: 'f32', cos: 'f32', sin: 'f32' },
  uniforms: { pairs: 'u32', half: 'u32', heads: 'u32', positions: 'u32', direction: 'f32' },
  code: `
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.pairs) { return; }
  let angle = i / u.half / u.heads % u.positions * u.half + i % u.half;
  let c = cos[angle];
  let s = u.direction * sin[angle];
  let a = x[2u * i];
  let b = x[2u * i + 1u];
  y[2u * i] = a * c - b * s;
  y[2u * i + 1u] = b * c + a * s;
}`,
};

/** Rotary positions in one pass over the heads. */
export function installRotate(recorder: Recorder): void {
  replaceKernel('Rotate', 'webgpu', ({ inputs, attrs }) => {
    const { x, cos, sin } = inputs as Record<'x' | 'cos' | 'sin', tf.TensorInfo>;
    const { direction, interleaved } = attrs as unknown as { direction: number; interleaved: boolean };
    const [batch, seq, heads, headDim] = x.shape as [number, number, number, number];
    const { program, width: half } = interleaved ? { program: neighbours, width: headDim / 2 } : halves(headDim / 2);
    const pairs = batch * seq * heads * half;
    const positions = tf.util.sizeFromShape(cos.shape) / (headDim / 2);
    const uniforms = { pairs, half, heads, positions, direction };
    return recorder.run(program, { x, cos, sin }, { y: x.shape }, uniforms, threadsFor(pairs))[0]!;
  });
}
