import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { Program, Recorder } from './recorder.js';
import { COLUMNS, SHORT, TALL, type TileShape, tileProduct } from './tile.js';
import { inLine } from './workgroups.js';

/** WGSL: where an expert's rows begin, read on the device; an offset outside the rows is brought inside. */
const OFFSET = `
fn offset(expert: u32) -> u32 { return u32(clamp(offsets[expert], 0, i32(u.rows))); }`;

/** `y[rows of e] = x[rows of e] W[e]`, or with `W[e]` transposed; rows of no expert are zero. */
function groupedMatMul(tile: TileShape, transposeWeights: boolean): Program {
  const { threads, memory, body } = tileProduct(tile, 'down', transposeWeights ? 'down' : 'across');
  return {
    name: `GroupedMatMul, tiles of ${tile.rows} rows${transposeWeights ? ', transposed weights' : ''}`,
    outputs: { y: 'f32' },
    inputs: { x: 'f32', weights: 'f32', offsets: 'i32' },
    uniforms: { rows: 'u32', inner: 'u32', columns: 'u32', experts: 'u32' },
    code: `
${OFFSET}
${memory}
var<private> first: u32; // the tile's rows are first .. last
var<private> last: u32;
var<private> column: u32; // its first column
var<private> weight: u32; // where its expert's matrix begins

fn left(i: u32, k: u32) -> f32 {
  if (first + i >= last || k >= u.inner) { return 0; }
  return x[(first + i) * u.inner + k];
}
fn right(j: u32, k: u32) -> f32 {
  if (column + j >= u.columns || k >= u.inner) { return 0; }
  return weights[weight + ${transposeWeights ? '(column + j) * u.inner + k' : 'k * u.columns + column + j'}];
}
fn store(i: u32, j: u32, sum: f32) {
  if (first + i < last && column + j < u.columns) { y[(first + i) * u.columns + column + j] = sum; }
}

@compute @workgroup_size(${threads}) fn main(
  @builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) l: u32,
) {
  // Whose tile this is. The launch has one for every ${tile.rows} rows and one more for each expert's remainder.
  var t = id.z * groups.y + id.y;
  var expert = 0u;
  var begin = 0u;
  var end = 0u;
  for (; expert <= u.experts; expert++) {
    begin = end;
    end = select(max(offset(expert + 1u), begin), u.rows, expert == u.experts); // rows of no expert come last
    let tiles = (end - begin + ${tile.rows - 1}u) / ${tile.rows}u;
    if (t < tiles) { break; }
    t -= tiles;
  }
  if (expert > u.experts) { return; }
  first = begin + t * ${tile.rows}u;
  last = end;
  column = id.x * ${COLUMNS}u;
  weight = expert * u.inner * u.columns;
  let steps = select(u.inner, 0u, expert == u.experts);
  ${body}
}`,
  };
}

/** `y[e] = a[rows of e]^T b[rows of e]`. */
function groupedOuterProduct(): Program {
  const { threads, memory, body } = tileProduct(TALL, 'across', 'across');
  return {
    name: 'GroupedOuterProduct',
    outputs: { y: 'f32' },
    inputs: { a: 'f32', b: 'f32', offsets: 'i32' },
    uniforms: { rows: 'u32', height: 'u32', width: 'u32' },
    code: `
${OFFSET}
${memory}
var<private> first: u32; // the expert's rows are first .. last
var<private> last: u32;
var<private> top: u32; // the tile's first row and column
var<private> column: u32;
var<private> product: u32; // where the expert's product begins

fn left(i: u32, k: u32) -> f32 {
  if (top + i >= u.height || first + k >= last) { return 0; }
  return a[(first + k) * u.height + top + i];
}
fn right(j: u32, k: u32) -> f32 {
  if (column + j >= u.width || first + k >= last) { return 0; }
  return b[(first + k) * u.width + column + j];
}
fn store(i: u32, j: u32, sum: f32) {
  if (top + i < u.height && column + j < u.width) { y[product + (top + i) * u.width + column + j] = sum; }
}

@compute @workgroup_size(${threads}) fn main(
  @builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) l: u32,
) {
  let begin = offset(id.z);
  let steps = max(offset(id.z + 1u), begin) - begin;
  first = begin;
  last = begin + steps;
  top = id.y * ${TALL.rows}u;
  column = id.x * ${COLUMNS}u;
  product = id.z * u.height * u.width;
  ${body}
}`,
  };
}

const tall = { tile: TALL, plain: groupedMatMul(TALL, false), transposed: groupedMatMul(TALL, true) };
const short = { tile: SHORT, plain: groupedMatMul(SHORT, false), transposed: groupedMatMul(SHORT, true) };
const outerProduct = groupedOuterProduct();

/** The dropless products of a Mixture of Experts. They read on the device which rows are whose. */
export function installProducts(recorder: Recorder): void {
  replaceKernel('GroupedMatMulOnDevice', 'webgpu', ({ inputs, attrs }) => {
    const { x, weights, offsets } = inputs as Record<'x' | 'weights' | 'offsets', tf.TensorInfo>;
    const { transposeWeights } = attrs as unknown as { transposeWeights: boolean };
    const [experts, second, third] = weights.shape as [number, number, number];
    const [inner, columns] = transposeWeights ? [third, second] : [second, third];
    const rows = x.shape[0]!;
    const form = rows / experts < TALL.rows / 2 ? short : tall;
    const [y, z] = inLine(Math.ceil(rows / form.tile.rows) + experts);
    const [product] = recorder.run(
      transposeWeights ? form.transposed : form.plain,
      { x, weights, offsets },
      { y: [rows, columns] },
      { rows, inner, columns, experts },
      [Math.ceil(columns / COLUMNS), y, z],
    );
    return product!;
  });

  replaceKernel('GroupedOuterProductOnDevice', 'webgpu', ({ inputs }) => {
    const { a, b, offsets } = inputs as Record<'a' | 'b' | 'offsets', tf.TensorInfo>;
    const experts = offsets.shape[0]! - 1;
    const [rows, height, width] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    const [product] = recorder.run(
      outerProduct,
      { a, b, offsets },
      { y: [experts, height, width] },
      { rows, height, width },
      [Math.ceil(width / COLUMNS), Math.ceil(height / TALL.rows), experts],
    );
    return product!;
  });
}
