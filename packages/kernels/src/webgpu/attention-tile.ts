import type { Element } from './recorder.js';

/**
 * How a workgroup divides its part of the score matrix: `lines` times `lanes` threads, each with `each` rows of four
 * columns. Of the sums that lie across the rows of a head, a thread has `vectors` of four for each of its rows.
 */
export interface AttentionTile {
  readonly lines: number;
  readonly lanes: number;
  readonly each: number;
  readonly vectors: number;
}

/** Vectors of four along a head that are in workgroup memory at once: with all else within 16 KiB. */
const DEPTH = 8;

/** Heads up to this size have tiles of half the columns, whose lanes then all have a part of the head to sum. */
const SMALL_HEAD = 32;

/** Tiles of 32 rows; registers grow with the head, workgroup memory does not. */
export function tallTile(headDim: number): AttentionTile {
  const lanes = headDim <= SMALL_HEAD ? 8 : 16;
  return { lines: 8, lanes, each: 4, vectors: Math.ceil(headDim / (4 * lanes)) };
}

/** Tiles of four rows, for the few queries of decoding. */
export function shortTile(headDim: number): AttentionTile {
  return { ...tallTile(headDim), lines: 4, each: 1 };
}

/** Rows of the score matrix in a tile. */
export function rowsOf({ lines, each }: AttentionTile): number {
  return lines * each;
}

/** Threads of a workgroup. */
export function threadsOf({ lines, lanes }: AttentionTile): number {
  return lines * lanes;
}

/**
 * WGSL: constants and workgroup memory of a tile. `places` holds which rows of their tensors the tile's rows and then its
 * columns are, `NONE` outside. `tile` holds both sides of a product along a piece of the head, and between products the
 * weights of `mix`.
 */
export function tileMemory(tile: AttentionTile): string {
  const { lines, lanes, each, vectors } = tile;
  return `
const LANES = ${lanes}u;
const LINES = ${lines}u;
const EACH = ${each}u;
const VECTORS = ${vectors}u;
const ROWS = ${rowsOf(tile)}u;
const COLUMNS = ${4 * lanes}u;
const TILE_THREADS = ${threadsOf(tile)}u;
const DEPTH = ${DEPTH}u;
const LINE = DEPTH + 1u; // neighbouring rows begin in other banks
const NONE = 0xffffffffu;
alias Scores = array<vec4f, EACH>;
alias Sums = array<vec4f, EACH * VECTORS>;
var<workgroup> places: array<u32, ROWS + COLUMNS>;
var<workgroup> tile: array<vec4f, (ROWS + COLUMNS) * LINE>;
fn rowOf(l: u32, i: u32) -> u32 { return l / LANES + i * LINES; } // a thread's row i
// A lane's four columns are neighbours; the same column of all lanes stands side by side.
fn columnOf(place: u32) -> u32 { return 4u * (place % LANES) + place / LANES; }
fn placeOf(l: u32, j: u32) -> u32 { return ROWS + j * LANES + l % LANES; }
fn storeWeights(l: u32, weights: Scores) {
  workgroupBarrier(); // nobody reads the tile any more
  for (var i = 0u; i < EACH; i++) { tile[rowOf(l, i) * LANES + l % LANES] = weights[i]; }
  workgroupBarrier();
}`;
}

/**
 * WGSL: `name(l)`, which every thread of the workgroup calls, gives the thread's rows of `left right^T`. It reads
 * `places`, and what `tile` held is lost.
 *
 * @param left, right names of buffers with a reader.
 */
export function product(name: string, left: string, right: string): string {
  return `
fn ${name}(l: u32) -> Scores {
  var scores: Scores;
  for (var c = 0u; c < u.width; c += DEPTH) {
    workgroupBarrier();
    for (var i = l; i < (ROWS + COLUMNS) * DEPTH; i += TILE_THREADS) {
      let at = i / DEPTH;
      let d = i % DEPTH;
      if (at < ROWS) { tile[at * LINE + d] = ${left}At(places[at], c + d); }
      else { tile[at * LINE + d] = ${right}At(places[at], c + d); }
    }
    workgroupBarrier();
    for (var d = 0u; d < DEPTH; d++) {
      let four = mat4x4f(
        tile[placeOf(l, 0) * LINE + d], tile[placeOf(l, 1) * LINE + d],
        tile[placeOf(l, 2) * LINE + d], tile[placeOf(l, 3) * LINE + d],
      );
      for (var i = 0u; i < EACH; i++) { scores[i] += tile[rowOf(l, i) * LINE + d] * four; }
    }
  }
  return scores;
}`;
}

/**
 * WGSL: `name(l, count, &sums)` adds `weights right` to the thread's sums, over the first `count` columns. The weights are
 * those of `storeWeights`.
 *
 * @param right the name of a buffer with a reader.
 */
export function mix(name: string, right: string): string {
  return `
fn ${name}(l: u32, count: u32, sums: ptr<function, Sums>) {
  for (var c = 0u; c < (min(count, COLUMNS) + 3u) / 4u; c++) {
    for (var n = 0u; n < VECTORS; n++) {
      let d = l % LANES + n * LANES;
      let four = mat4x4f(
        ${right}At(places[placeOf(c, 0)], d), ${right}At(places[placeOf(c, 1)], d),
        ${right}At(places[placeOf(c, 2)], d), ${right}At(places[placeOf(c, 3)], d),
      );
      for (var i = 0u; i < EACH; i++) { (*sums)[i * VECTORS + n] += four * tile[rowOf(l, i) * LANES + c]; }
    }
  }
}`;
}

/**
 * WGSL: `nameAt(row, d)`, four numbers of a row of heads, zero outside. Heads that do not divide by four lie in the
 * buffer number by number.
 */
export function reader(name: string, element: Element): string {
  const scalar = `let at = row * u.headDim + 4u * d;
  let rest = u.headDim - 4u * d;
  return vec4f(
    ${name}[at], select(0.0, ${name}[at + 1u], rest > 1u),
    select(0.0, ${name}[at + 2u], rest > 2u), select(0.0, ${name}[at + 3u], rest > 3u),
  );`;
  return `
fn ${name}At(row: u32, d: u32) -> vec4f {
  if (row == NONE || d >= u.width) { return vec4f(0); }
  ${element === 'vec4f' ? `return ${name}[row * u.width + d];` : scalar}
}`;
}

/** WGSL: `namePut(l, i, row, sums)` writes the thread's sums of its row `i` to a row of heads. */
export function writer(name: string, element: Element): string {
  const scalar = `
    let at = row * u.headDim + 4u * d;
    for (var j = 0u; j < min(4u, u.headDim - 4u * d); j++) { ${name}[at + j] = value[j]; }`;
  return `
fn ${name}Put(l: u32, i: u32, row: u32, sums: ptr<function, Sums>) {
  for (var n = 0u; n < VECTORS; n++) {
    let d = l % LANES + n * LANES;
    if (row == NONE || d >= u.width) { continue; }
    let value = (*sums)[i * VECTORS + n];
    ${element === 'vec4f' ? `${name}[row * u.width + d] = value;` : scalar}
  }
}`;
}
