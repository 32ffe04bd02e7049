import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import { byWidth } from './by-width.js';
import type { Recorder } from './recorder.js';
import { inLine, MAIN, SUM_OVER_THREADS, THREADS, threadsFor } from './workgroups.js';

type Infos = Record<string, tf.TensorInfo>;

/** Rows whose shares of a weight's gradient one thread adds up: enough threads for a GPU, few sums to add again. */
const ROWS_PER_SUM = 64;

/** A workgroup for each row, which is read twice: the second time from cache. */
const rmsNorm = byWidth(({ element, types }) => ({
  name: 'RmsNorm',
  outputs: { y: element },
  inputs: { x: element, weight: element },
  uniforms: { rows: 'u32', width: 'u32', perNumber: 'f32', epsilon: 'f32' },
  code: `
${types}
${SUM_OVER_THREADS}
${MAIN}
  if (group >= u.rows) { return; }
  let start = group * u.width;
  var squares = V(0);
  for (var j = l; j < u.width; j += ${THREADS}u) { squares += x[start + j] * x[start + j]; }
  let r = inverseSqrt(sumOverThreads(l, total(squares)) * u.perNumber + u.epsilon);
  for (var j = l; j < u.width; j += ${THREADS}u) { y[start + j] = x[start + j] * r * weight[j]; }
}`,
}));

/** `dx = r * (w dy - x r^2 mean(w dy x))`, and `r` of each row for the weight's share. */
const rmsNormInputGradient = byWidth(({ element, types }) => ({
  name: 'RmsNormGradient of x',
  outputs: { dx: element, roots: 'f32' },
  inputs: { dy: element, x: element, weight: element },
  uniforms: { rows: 'u32', width: 'u32', perNumber: 'f32', epsilon: 'f32' },
  code: `
${types}
${SUM_OVER_THREADS}
${MAIN}
  if (group >= u.rows) { return; }
  let start = group * u.width;
  var squares = V(0);
  var products = V(0);
  for (var j = l; j < u.width; j += ${THREADS}u) {
    squares += x[start + j] * x[start + j];
    products += weight[j] * dy[start + j] * x[start + j];
  }
  let r = inverseSqrt(sumOverThreads(l, total(squares)) * u.perNumber + u.epsilon);
  workgroupBarrier(); // all have read the first sum
  let back = sumOverThreads(l, total(products)) * r * r * u.perNumber;
  for (var j = l; j < u.width; j += ${THREADS}u) {
    dx[start + j] = r * (weight[j] * dy[start + j] - back * x[start + j]);
  }
  if (l == 0u) { roots[group] = r; }
}`,
}));

/** `sums[s] = sum of dy x r` over the rows of sum `s`; a thread for each element, in a fixed order. */
const rmsNormWeightSums = byWidth(({ element, types }) => ({
  name: 'RmsNormGradient of weight',
  outputs: { sums: element },
  inputs: { dy: element, x: element, roots: 'f32' },
  uniforms: { rows: 'u32', width: 'u32', count: 'u32' },
  code: `
${types}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.count * u.width) { return; }
  let first = i / u.width * ${ROWS_PER_SUM}u;
  var sum = V(0);
  for (var row = first; row < min(first + ${ROWS_PER_SUM}u, u.rows); row++) {
    let at = row * u.width + i % u.width;
    sum += dy[at] * x[at] * roots[row];
  }
  sums[i] = sum;
}`,
}));

/** `total[j] = sum_s sums[s, j]`. */
const sumOfRows = byWidth(({ element, types }) => ({
  name: 'sum of rows',
  outputs: { y: element },
  inputs: { sums: element },
  uniforms: { count: 'u32', width: 'u32' },
  code: `
${types}
${MAIN}
  let j = group * ${THREADS}u + l;
  if (j >= u.width) { return; }
  var sum = V(0);
  for (var s = 0u; s < u.count; s++) { sum += sums[s * u.width + j]; }
  y[j] = sum;
}`,
}));

/** WGSL: `exp` of 88 and more is infinite, which WGSL does not promise to survive. */
const SIGMOID = 'fn sigmoid(v: V) -> V { return V(1) / (V(1) + exp(min(-v, V(87)))); }';

const swiGlu = byWidth(({ element, types }) => ({
  name: 'SwiGlu',
  outputs: { y: element },
  inputs: { x: element },
  uniforms: { rows: 'u32', width: 'u32' },
  code: `
${types}
${SIGMOID}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.rows * u.width) { return; }
  let at = i / u.width * 2u * u.width + i % u.width;
  y[i] = x[at] * sigmoid(x[at]) * x[at + u.width];
}`,
}));

/** `dGate = dy up s (1 + gate (1 - s))`, `dUp = dy gate s`, with `s = sigmoid(gate)`. */
const swiGluGradient = byWidth(({ element, types }) => ({
  name: 'SwiGluGradient',
  outputs: { dx: element },
  inputs: { dy: element, x: element },
  uniforms: { rows: 'u32', width: 'u32' },
  code: `
${types}
${SIGMOID}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.rows * u.width) { return; }
  let at = i / u.width * 2u * u.width + i % u.width;
  let gate = x[at];
  let s = sigmoid(gate);
  dx[at] = dy[i] * x[at + u.width] * s * (V(1) + gate * (V(1) - s));
  dx[at + u.width] = dy[i] * gate * s;
}`,
}));

/** Fused layers: normalisation and gated activation. */
export function installLayers(recorder: Recorder): void {
  const register = (
    name: string,
    run: (inputs: Infos, attrs: Record<string, number>) => tf.TensorInfo | tf.TensorInfo[],
  ) =>
    replaceKernel(name, 'webgpu', ({ inputs, attrs }) =>
      run(inputs as Infos, attrs as unknown as Record<string, number>),
    );

  register('RmsNorm', ({ x, weight }, { epsilon }) => {
    const { rows, hidden } = rowsOf(x!, weight!);
    const { program, width } = rmsNorm(hidden);
    const uniforms = { rows, width, perNumber: 1 / hidden, epsilon: epsilon! };
    return recorder.run(program, { x: x!, weight: weight! }, { y: x!.shape }, uniforms, inLine(rows))[0]!;
  });
  register('RmsNormGradient', ({ dy, x, weight }, { epsilon }) => {
    const { rows, hidden } = rowsOf(x!, weight!);
    const { program, width } = rmsNormInputGradient(hidden);
    const uniforms = { rows, width, perNumber: 1 / hidden, epsilon: epsilon! };
    const [dx, roots] = recorder.run(
      program,
      { dy: dy!, x: x!, weight: weight! },
      { dx: x!.shape, roots: [rows] },
      uniforms,
      inLine(rows),
    );
    const dWeight = weightGradient(recorder, dy!, x!, roots!);
    recorder.dispose(roots!);
    return [dx!, dWeight];
  });

  register('SwiGlu', ({ x }) => {
    const [rows, double] = x!.shape as [number, number];
    const { program, width } = swiGlu(double / 2);
    return recorder.run(program, { x: x! }, { y: [rows, double / 2] }, { rows, width }, threadsFor(rows * width))[0]!;
  });
  register('SwiGluGradient', ({ dy, x }) => {
    const [rows, double] = x!.shape as [number, number];
    const { program, width } = swiGluGradient(double / 2);
    return recorder.run(program, { dy: dy!, x: x! }, { dx: x!.shape }, { rows, width }, threadsFor(rows * width))[0]!;
  });
}

/** In two steps without atomics, so that the same rows always give the same bits. */
function weightGradient(recorder: Recorder, dy: tf.TensorInfo, x: tf.TensorInfo, roots: tf.TensorInfo): tf.TensorInfo {
  const hidden = x.shape.at(-1)!;
  const rows = roots.shape[0]!;
  const count = Math.max(1, Math.ceil(rows / ROWS_PER_SUM));
  const { program, width } = rmsNormWeightSums(hidden);
  const [sums] = recorder.run(
    program,
    { dy, x, roots },
    { sums: [count, hidden] },
    { rows, width, count },
    threadsFor(count * width),
  );
  const last = sumOfRows(hidden).program;
  const [total] = recorder.run(last, { sums: sums! }, { y: [hidden] }, { count, width }, threadsFor(width));
  recorder.dispose(sums!);
  return total!;
}

function rowsOf(x: tf.TensorInfo, weight: tf.TensorInfo): { rows: number; hidden: number } {
  const hidden = weight.shape[0]!;
  return { rows: tf.util.sizeFromShape(x.shape) / hidden, hidden };
}
