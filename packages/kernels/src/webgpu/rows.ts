import * as tf from '@tensorflow/tfjs-core';
import { rowsOfItems } from '../copy-rows.js';
import { replaceKernel } from '../replace-kernel.js';
import type { BlockPlace, HalvesPlace } from '../write-block.js';
import { byWidth } from './by-width.js';
import type { Element, Program, Recorder } from './recorder.js';
import { inLine, MAIN, SUM_OVER_THREADS, THREADS, threadsFor } from './workgroups.js';

type Infos = Record<string, tf.TensorInfo>;

/** `y[t] = sum_j weights[t, j] * rows[rowOfChoice[t, j]]`, or with weights of 1; a thread for each element of `y`. */
const combine = (weighted: boolean) =>
  byWidth(({ element, types }) => ({
    name: 'CombineRows',
    outputs: { y: element },
    inputs: { rows: element, rowOfChoice: 'i32', ...(weighted && { weights: 'f32' }) },
    uniforms: { count: 'u32', tokens: 'u32', k: 'u32', width: 'u32' },
    code: `
${types}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.tokens * u.width) { return; }
  let token = i / u.width;
  var sum = V(0);
  for (var choice = token * u.k; choice < (token + 1u) * u.k; choice++) {
    let row = u32(rowOfChoice[choice]);
    if (row < u.count) { sum += ${weighted ? 'weights[choice] * ' : ''}rows[row * u.width + i % u.width]; }
  }
  y[i] = sum;
}`,
  }));
const combineRows = { weighted: combine(true), plain: combine(false) };

/** `y[i] = x[indices[i]]`, zero where the index is outside the rows; a thread for each element of `y`. */
const takeRows = byWidth(({ element, types }) => ({
  name: 'TakeRows',
  outputs: { y: element },
  inputs: { x: element, indices: 'i32' },
  uniforms: { count: 'u32', taken: 'u32', width: 'u32' },
  code: `
${types}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.taken * u.width) { return; }
  let row = u32(indices[i / u.width]);
  y[i] = V(0);
  if (row < u.count) { y[i] = x[row * u.width + i % u.width]; }
}`,
}));

/**
 * `dRows[choice's row] = weights[choice] * dy[its token]` and `dWeights[choice] = row . dy[its token]`; a workgroup for
 * each row, which nobody else writes. An empty row is zero; a dropped choice is not written.
 */
const combineRowsGradient = byWidth(({ element, types }) => ({
  name: 'CombineRowsGradient',
  outputs: { dRows: element, dWeights: 'f32' },
  inputs: { dy: element, rows: element, weights: 'f32', choiceOfRow: 'i32' },
  uniforms: { count: 'u32', choices: 'u32', k: 'u32', width: 'u32' },
  code: `
${types}
${SUM_OVER_THREADS}
${MAIN}
  let row = group;
  if (row >= u.count) { return; }
  let choice = u32(choiceOfRow[row]);
  let empty = choice >= u.choices;
  let weight = select(weights[choice], 0.0, empty);
  let token = select(choice / u.k, 0u, empty);
  var products = V(0);
  for (var j = l; j < u.width; j += ${THREADS}u) {
    let at = row * u.width + j;
    let grad = dy[token * u.width + j];
    dRows[at] = weight * grad;
    products += rows[at] * grad;
  }
  let sum = sumOverThreads(l, total(products));
  if (l == 0u && !empty) { dWeights[choice] = sum; }
}`,
}));

const writePiece = (element: Element): Program => ({
  name: 'WriteRows',
  outputs: { y: element },
  inputs: { rows: element },
  uniforms: { start: 'u32', place: 'u32', count: 'u32' },
  code: `
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i < u.count) { y[u.place + i] = rows[u.start + i]; }
}`,
});
/** The rows of one item go to their place; a thread for each number. */
const writeRows = { f32: writePiece('f32'), i32: writePiece('i32') };

const WIDEN_BFLOAT16 = `
fn widened(bits: u32) -> f32 { return bitcast<f32>(bits << 16u); }`;

/** `unpack2x16float` may take what is below the normal numbers for zero. */
const WIDEN_FLOAT16 = `
fn widened(bits: u32) -> f32 {
  let sign = (bits & 0x8000u) << 16u;
  let moved = (bits & 0x7fffu) << 13u;
  if (moved >= 0x0f800000u) { return bitcast<f32>(moved | 0x7f800000u | sign); }
  if (moved >= 0x00800000u) { return bitcast<f32>((moved + 0x38000000u) | sign); }
  return bitcast<f32>(bitcast<u32>(f32(bits & 0x3ffu) * ${2 ** -24}) | sign);
}`;

/** A block goes to its place, as it is or transposed: `xRow` and `xColumn` numbers apart in it; a thread for each number. */
const writeBlock: Program = {
  name: 'WriteBlock',
  outputs: { y: 'f32' },
  inputs: { x: 'f32' },
  uniforms: { size: 'u32', width: 'u32', xRow: 'u32', xColumn: 'u32', place: 'u32', columns: 'u32' },
  code: `
${MAIN}
  let n = group * ${THREADS}u + l;
  if (n >= u.size) { return; }
  let i = n / u.width;
  let j = n % u.width;
  y[u.place + i * u.columns + j] = x[i * u.xRow + j * u.xColumn];
}`,
};

/** The same for 16-bit floats, two to a number of `x`: their bits are moved, so that small ones stay what they are. */
const writeHalves = (bfloat16: boolean): Program => ({
  name: 'WriteHalves',
  outputs: { y: 'f32' },
  inputs: { x: 'i32' },
  uniforms: writeBlock.uniforms,
  code: `
${bfloat16 ? WIDEN_BFLOAT16 : WIDEN_FLOAT16}
${MAIN}
  let n = group * ${THREADS}u + l;
  if (n >= u.size) { return; }
  let i = n / u.width;
  let j = n % u.width;
  let at = i * u.xRow + j * u.xColumn;
  y[u.place + i * u.columns + j] = widened((bitcast<u32>(x[at / 2u]) >> (16u * (at % 2u))) & 0xffffu);
}`,
});
const halvesWriters = { bfloat16: writeHalves(true), float16: writeHalves(false) };

/** Moving whole rows to the experts and back. */
export function installRows(recorder: Recorder): void {
  replaceKernel('WriteRows', 'webgpu', ({ inputs, attrs }) => {
    const { target, rows } = inputs as Record<'target' | 'rows', tf.TensorInfo>;
    const { starts } = attrs as unknown as { starts: number[] };
    const program = writeRows[rows.dtype === 'int32' ? 'i32' : 'f32'];
    for (const { from: start, to: place, count } of rowsOfItems(target, rows, starts))
      recorder.run(program, { rows }, { y: target }, { start, place, count }, threadsFor(count));
    return [];
  });

  replaceKernel('WriteBlock', 'webgpu', ({ inputs, attrs }) => {
    const { target, block } = inputs as Record<'target' | 'block', tf.TensorInfo>;
    const { size, uniforms } = layoutOf(target, block.shape, attrs as unknown as BlockPlace & { transposed: boolean });
    recorder.run(writeBlock, { x: block }, { y: target }, uniforms, threadsFor(size));
    return [];
  });

  replaceKernel('WriteHalves', 'webgpu', ({ inputs, attrs }) => {
    const { target, words } = inputs as Record<'target' | 'words', tf.TensorInfo>;
    const place = attrs as unknown as HalvesPlace;
    const { size, uniforms } = layoutOf(target, place.shape, place);
    const program = halvesWriters[place.bfloat16 ? 'bfloat16' : 'float16'];
    recorder.run(program, { x: words }, { y: target }, uniforms, threadsFor(size));
    return [];
  });

  replaceKernel('CombineRows', 'webgpu', ({ inputs }) => {
    const { rows, weights, rowOfChoice } = inputs as Infos;
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const [count, hidden] = rows!.shape as [number, number];
    const { program, width } = combineRows[weights ? 'weighted' : 'plain'](hidden);
    const sizes = { count, tokens, k, width };
    return recorder.run(program, inputs as Infos, { y: [tokens, hidden] }, sizes, threadsFor(tokens * width))[0]!;
  });

  replaceKernel('CombineRowsGradient', 'webgpu', ({ inputs, attrs }) => {
    const { rows, rowOfChoice } = inputs as Infos;
    const { complete } = attrs as unknown as { complete: boolean };
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const [count, hidden] = rows!.shape as [number, number];
    const { program, width } = combineRowsGradient(hidden);
    const dWeights = complete ? [tokens, k] : recorder.zeros([tokens, k]); // zero for dropped choices
    const sizes = { count, choices: tokens * k, k, width };
    return recorder.run(program, inputs as Infos, { dRows: [count, hidden], dWeights }, sizes, inLine(count));
  });

  replaceKernel('TakeRows', 'webgpu', ({ inputs }) => {
    const { x, indices } = inputs as Record<'x' | 'indices', tf.TensorInfo>;
    const [count, hidden] = x.shape as [number, number];
    const { program, width } = takeRows(hidden);
    const taken = tf.util.sizeFromShape(indices.shape);
    const shape = [...indices.shape, hidden];
    return recorder.run(program, { x, indices }, { y: shape }, { count, taken, width }, threadsFor(taken * width))[0]!;
  });
}

/** Where the numbers of a block lie in it and in the target. */
function layoutOf(
  target: tf.TensorInfo,
  shape: readonly number[],
  { matrix, row, column, transposed }: BlockPlace & { readonly transposed: boolean },
) {
  const [rows, columns] = target.shape.slice(-2) as [number, number];
  const [outer, inner] = shape as [number, number];
  const lanes = transposed ? { width: outer, xRow: 1, xColumn: inner } : { width: inner, xRow: inner, xColumn: 1 };
  const size = outer * inner;
  return { size, uniforms: { size, ...lanes, place: (matrix * rows + row) * columns + column, columns } };
}
