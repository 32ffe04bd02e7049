import type { Element, Program } from './recorder.js';
import { COLUMNS, type Layout, type TileShape, tileProduct } from './tile.js';

/** WGSL: where an expert's rows begin, read on the device; an offset outside the rows is brought inside. */
export const OFFSET = `
fn offset(expert: u32) -> u32 { return u32(clamp(offsets[expert], 0, i32(u.rows))); }`;

/**
 * WGSL: whose the `t`-th tile of so many rows is. Sets `expert`, `first` and `last`, its rows; the rows of no expert come
 * last, as those of `expert == u.experts`. Past the last tile it leaves `main`.
 *
 * @param tile a WGSL expression: the number of the tile.
 */
export function findTile(tile: string, rows: number): string {
  return `
  var t = ${tile};
  var expert = 0u;
  var begin = 0u;
  var last = 0u;
  for (; expert <= u.experts; expert++) {
    begin = last;
    last = select(max(offset(expert + 1u), begin), u.rows, expert == u.experts);
    let tiles = (last - begin + ${rows - 1}u) / ${rows}u;
    if (t < tiles) { break; }
    t -= tiles;
  }
  if (expert > u.experts) { return; }
  let first = begin + t * ${rows}u;`;
}

/** How many tiles of so many rows there can be, whoever's the rows are: one more for each expert's remainder. */
export function tilesOf(rows: number, experts: number, rowsOfTile: number): number {
  return Math.min(rows, Math.ceil(rows / rowsOfTile) + experts);
}

/** The matrices of all experts, and how a product reads them. */
export interface Weights {
  readonly name: string;
  /** Where columns of one inner row lie. */
  readonly layout: Layout;
  readonly inputs: Readonly<Record<string, Element>>;
  readonly uniforms: Readonly<Record<string, 'u32'>>;
  /** WGSL at module scope: `fn weight(expert: u32, k: u32, column: u32) -> f32`, called inside of the matrix only. */
  readonly code: string;
}

/** `y[rows of e] = x[rows of e] W[e]`; rows of no expert are zero. */
export function groupedProduct(tile: TileShape, weights: Weights): Program {
  const { threads, memory, body } = tileProduct(tile, 'down', weights.layout);
  return {
    name: `${weights.name}, tiles of ${tile.rows} rows`,
    outputs: { y: 'f32' },
    inputs: { x: 'f32', offsets: 'i32', ...weights.inputs },
    uniforms: { rows: 'u32', inner: 'u32', columns: 'u32', experts: 'u32', ...weights.uniforms },
    code: `
${OFFSET}
${memory}
${weights.code}
var<private> top: u32; // the tile's rows are top .. bottom
var<private> bottom: u32;
var<private> start: u32; // its first column
var<private> matrix: u32; // whose

fn left(i: u32, k: u32) -> f32 {
  if (top + i >= bottom || k >= u.inner) { return 0; }
  return x[(top + i) * u.inner + k];
}
fn right(j: u32, k: u32) -> f32 {
  if (start + j >= u.columns || k >= u.inner) { return 0; }
  return weight(matrix, k, start + j);
}
fn store(i: u32, j: u32, sum: f32) {
  if (top + i < bottom && start + j < u.columns) { y[(top + i) * u.columns + start + j] = sum; }
}

@compute @workgroup_size(${threads}) fn main(
  @builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) l: u32,
) {
  ${findTile('id.z * groups.y + id.y', tile.rows)}
  top = first;
  bottom = last;
  start = id.x * ${COLUMNS}u;
  matrix = expert;
  let steps = select(u.inner, 0u, expert == u.experts);
  ${body}
}`,
  };
}
