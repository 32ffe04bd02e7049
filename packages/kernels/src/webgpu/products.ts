import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import { groupedProduct, OFFSET, tilesOf, type Weights } from './grouped-product.js';
import type { Program, Recorder } from './recorder.js';
import { COLUMNS, SHORT, TALL, type TileShape, tileProduct } from './tile.js';
import { inLine } from './workgroups.js';

/** float32 matrices `[experts, inner, columns]`, or `[experts, columns, inner]`. */
function floats(transposed: boolean): Weights {
  const at = transposed ? 'column * u.inner + k' : 'k * u.columns + column';
  return {
    name: `GroupedMatMul${transposed ? ', transposed weights' : ''}`,
    layout: transposed ? 'down' : 'across',
    inputs: { weights: 'f32' },
    uniforms: {},
    code: `
fn weight(expert: u32, k: u32, column: u32) -> f32 {
  return weights[expert * u.inner * u.columns + ${at}];
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

const forms = (tile: TileShape) => ({
  tile,
  plain: groupedProduct(tile, floats(false)),
  transposed: groupedProduct(tile, floats(true)),
});
const [tall, short] = [forms(TALL), forms(SHORT)];
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
    const [y, z] = inLine(tilesOf(rows, experts, form.tile.rows));
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
