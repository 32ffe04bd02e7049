import {
  type AttentionTile,
  mix,
  product,
  reader,
  rowsOf,
  shortTile,
  tallTile,
  threadsOf,
  tileMemory,
  writer,
} from './attention-tile.js';
import { byWidth } from './by-width.js';
import type { Element, Program } from './recorder.js';
import { MAIN, mainOf, THREADS } from './workgroups.js';

// The shaders of attention. The rows of a block are the queries of all heads that share a key-value head.

const UNIFORMS = {
  seq: 'u32',
  keys: 'u32',
  heads: 'u32',
  kvHeads: 'u32',
  headDim: 'u32',
  width: 'u32', // vectors of four in a head
  queries: 'u32', // batch * seq
  blocks: 'u32', // workgroups beside each other along the rows
  pairs: 'u32', // batch * kvHeads
  shares: 'u32', // workgroups that share the keys of a block
  scale: 'f32',
} as const;

/** WGSL: where `[batch, heads, seq]` has the row that `[batch, seq, heads]` has at this place. */
const HEADS_FIRST = `
fn headsFirst(place: u32) -> u32 {
  let query = place / u.heads;
  return (query / u.seq * u.heads + place % u.heads) * u.seq + query % u.seq;
}`;

/**
 * WGSL: whose rows are whose. The queries of all heads that share keys are rows of one matrix, neighbours in sequence
 * side by side: a tile of keys serves the whole group, and the sums of dK and dV run over it.
 */
const PLACES = `
var<private> item: u32; // of the batch
var<private> kvHead: u32;
fn queryPlace(row: u32) -> u32 {
  let group = u.heads / u.kvHeads;
  if (row >= u.seq * group) { return NONE; }
  return (item * u.seq + row / group) * u.heads + kvHead * group + row % group;
}
fn keyPlace(key: u32) -> u32 {
  if (key >= u.keys) { return NONE; }
  return (item * u.keys + key) * u.kvHeads + kvHead;
}`;

/** WGSL: what a query sees, from `visible`: the first key of each query, the ends, and the bits of the slopes. */
const SIGHT = `
const UNSEEN = -1.0e38; // its exponential is 0 beside every other score, and beside NOTHING
const NOTHING = -1.0e30; // the largest score of a query that sees no key
struct Sight { first: u32, end: u32, slope: f32 }
fn sightOf(place: u32) -> Sight {
  if (place == NONE) { return Sight(0, 0, 0); }
  let query = place / u.heads;
  let slope = bitcast<f32>(visible[2u * u.queries + place % u.heads]);
  return Sight(u32(visible[query]), u32(visible[u.queries + query]), slope);
}
fn scoreOf(sight: Sight, product: f32, key: u32) -> f32 {
  let score = product * u.scale + sight.slope * (f32(key) - (f32(sight.end) - 1.0));
  return select(UNSEEN, score, sight.first <= key && key < sight.end);
}
fn fourScores(sight: Sight, products: vec4f, key: u32) -> vec4f {
  return vec4f(
    scoreOf(sight, products.x, key), scoreOf(sight, products.y, key + 1u),
    scoreOf(sight, products.z, key + 2u), scoreOf(sight, products.w, key + 3u),
  );
}`;

/** WGSL: begins `main` with whose block of rows a workgroup has. */
const begin = (tile: AttentionTile) => `
${mainOf(threadsOf(tile))}
  let pair = group / u.blocks % u.pairs;
  let top = group % u.blocks * ROWS; // the block's first row
  let share = group / u.blocks / u.pairs;
  if (share >= u.shares) { return; }
  item = pair / u.kvHeads;
  kvHead = pair % u.kvHeads;`;

/** WGSL: the keys `start` .. `stop` that any query of the block sees, and what the thread's own rows see. */
const QUERY_BLOCK = `
  let heads = u.heads / u.kvHeads;
  var start = u.keys;
  var stop = 0u;
  for (var i = top / heads; i <= min((top + ROWS - 1u) / heads, u.seq - 1u); i++) {
    let query = pair / u.kvHeads * u.seq + i;
    let end = u32(visible[u.queries + query]);
    if (u32(visible[query]) < end) {
      start = min(start, u32(visible[query]));
      stop = max(stop, end);
    }
  }
  for (var i = l; i < ROWS; i += TILE_THREADS) { places[i] = queryPlace(top + i); }
  workgroupBarrier();
  var own: array<u32, EACH>; // the places of the thread's rows
  var sights: array<Sight, EACH>;
  for (var i = 0u; i < EACH; i++) {
    own[i] = places[rowOf(l, i)];
    sights[i] = sightOf(own[i]);
  }`;

/** WGSL: a loop over rows `start` .. `stop` of the other side, a tile at a time; its body finds their places written. */
const overTiles = (place: string, body: string) => `
  for (var at = start; at < stop; at += COLUMNS) {
    workgroupBarrier(); // nobody reads the places of the last tile any more
    for (var i = l; i < COLUMNS; i += TILE_THREADS) { places[ROWS + i] = ${place}(at + columnOf(i)); }
    ${body}
  }`;

/**
 * Online softmax (FlashAttention-2, arXiv:2307.08691, algorithm 1). A workgroup goes over the keys that its block of
 * queries sees, or over its share of them; the outputs of all shares then lie one behind the other.
 */
const forward = (tile: AttentionTile, element: Element): Program => ({
  name: `FlashAttention, tiles of ${rowsOf(tile)} queries, ${tile.vectors} vectors of ${tile.lanes} lanes`,
  outputs: { o: element, lse: 'f32' },
  inputs: { q: element, k: element, v: element, visible: 'i32' },
  uniforms: UNIFORMS,
  code: `
${tileMemory(tile)}
var<workgroup> parts: array<f32, ROWS * LANES>; // a number of each lane for each row
fn largestOf(row: u32, before: f32) -> f32 {
  var largest = before;
  for (var i = 0u; i < LANES; i++) { largest = max(largest, parts[row * LANES + i]); }
  return largest;
}
fn sumOf(row: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < LANES; i++) { sum += parts[row * LANES + i]; }
  return sum;
}
${HEADS_FIRST}
${PLACES}
${SIGHT}
${['q', 'k', 'v'].map((name) => reader(name, element)).join('')}
${writer('o', element)}
${product('queriesTimesKeys', 'q', 'k')}
${mix('mixValues', 'v')}
${begin(tile)}
  ${QUERY_BLOCK}
  let tiles = (max(stop, start) - start + COLUMNS - 1u) / COLUMNS;
  let length = (tiles + u.shares - 1u) / u.shares * COLUMNS; // whole tiles, so that no key is in two shares
  start += share * length;
  stop = min(stop, start + length);
  var mixed: Sums;
  var sums: array<f32, EACH>; // of this lane's columns
  var largest: array<f32, EACH>;
  for (var i = 0u; i < EACH; i++) { largest[i] = NOTHING; }
  ${overTiles(
    'keyPlace',
    `var scores = queriesTimesKeys(l);
    for (var i = 0u; i < EACH; i++) {
      let four = fourScores(sights[i], scores[i], at + 4u * (l % LANES));
      scores[i] = four;
      parts[rowOf(l, i) * LANES + l % LANES] = max(max(four.x, four.y), max(four.z, four.w));
    }
    workgroupBarrier();
    for (var i = 0u; i < EACH; i++) {
      let before = largest[i];
      largest[i] = largestOf(rowOf(l, i), before);
      let fade = exp(before - largest[i]);
      scores[i] = exp(scores[i] - largest[i]);
      sums[i] = sums[i] * fade + dot(scores[i], vec4f(1));
      for (var n = 0u; n < VECTORS; n++) { mixed[i * VECTORS + n] *= fade; }
    }
    storeWeights(l, scores);
    mixValues(l, stop - at, &mixed);`,
  )}
  workgroupBarrier();
  for (var i = 0u; i < EACH; i++) { parts[rowOf(l, i) * LANES + l % LANES] = sums[i]; }
  workgroupBarrier();
  let ahead = share * u.queries * u.heads; // rows of the shares before
  for (var i = 0u; i < EACH; i++) {
    if (own[i] == NONE) { continue; }
    let sum = sumOf(rowOf(l, i));
    let factor = select(1.0 / sum, 0.0, sum == 0.0); // a query that sees nothing gives 0
    for (var n = 0u; n < VECTORS; n++) { mixed[i * VECTORS + n] *= factor; }
    oPut(l, i, ahead + own[i], &mixed);
    if (l % LANES == 0u) { lse[ahead + headsFirst(own[i])] = select(largest[i] + log(sum), NOTHING, sum == 0.0); }
  }
}`,
});

/** The outputs of all shares of the keys as one, each by its part of the sum of exponentials. */
export const joinShares = byWidth(({ element, types }) => ({
  name: 'FlashAttention, shares as one',
  outputs: { o: element, lse: 'f32' },
  inputs: { os: element, lses: 'f32' },
  uniforms: { seq: 'u32', heads: 'u32', rows: 'u32', width: 'u32', shares: 'u32' },
  code: `
${types}
${HEADS_FIRST}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.rows * u.width) { return; }
  let at = headsFirst(i / u.width);
  var largest = lses[at];
  for (var s = 1u; s < u.shares; s++) { largest = max(largest, lses[s * u.rows + at]); }
  var sum = 0.0;
  var mixed = V(0);
  for (var s = 0u; s < u.shares; s++) {
    let weight = exp(lses[s * u.rows + at] - largest);
    sum += weight;
    mixed += weight * os[s * u.rows * u.width + i];
  }
  o[i] = mixed / sum;
  if (i % u.width == 0u) { lse[at] = largest + log(sum); }
}`,
}));

/** Log-sum-exp of each query, and how far its gradient lies along its output, side by side: `[batch, seq, heads, 2]`. */
export const rowStatistics = byWidth(({ element, types }) => ({
  name: 'FlashAttentionGradient, statistics of queries',
  outputs: { statistics: 'f32' },
  inputs: { dy: element, o: element, lse: 'f32' },
  uniforms: { seq: 'u32', heads: 'u32', rows: 'u32', width: 'u32' },
  code: `
${types}
${HEADS_FIRST}
${MAIN}
  let place = group * ${THREADS}u + l;
  if (place >= u.rows) { return; }
  var along = V(0);
  for (var d = 0u; d < u.width; d++) { along += dy[place * u.width + d] * o[place * u.width + d]; }
  statistics[2u * place] = lse[headsFirst(place)];
  statistics[2u * place + 1u] = total(along);
}`,
}));

/** With the outputs the eight storage buffers that every WebGPU device has. */
const gradientInputs = (element: Element) =>
  ({ q: element, k: element, v: element, dy: element, statistics: 'f32', visible: 'i32' }) as const;

/** WGSL: readers of these, and a query's log-sum-exp and drift. */
const gradientReaders = (element: Element) => `
${['q', 'k', 'v', 'dy'].map((name) => reader(name, element)).join('')}
fn statisticsOf(place: u32) -> vec2f {
  if (place == NONE) { return vec2f(0); }
  return vec2f(statistics[2u * place], statistics[2u * place + 1u]);
}`;

/** FlashAttention-2, algorithm 2, by blocks of queries: the scores again, then `dQ = dS K`. */
const queryGradient = (tile: AttentionTile, element: Element): Program => ({
  name: `FlashAttentionGradient of q, ${tile.vectors} vectors of ${tile.lanes} lanes`,
  outputs: { dq: element },
  inputs: gradientInputs(element),
  uniforms: UNIFORMS,
  code: `
${tileMemory(tile)}
${PLACES}
${SIGHT}
${gradientReaders(element)}
${writer('dq', element)}
${product('queriesTimesKeys', 'q', 'k')}
${product('gradientsTimesValues', 'dy', 'v')}
${mix('mixKeys', 'k')}
${begin(tile)}
  ${QUERY_BLOCK}
  var dQueries: Sums;
  ${overTiles(
    'keyPlace',
    `let products = queriesTimesKeys(l);
    var dScores = gradientsTimesValues(l);
    for (var i = 0u; i < EACH; i++) {
      let ofRow = statisticsOf(own[i]);
      let weights = exp(fourScores(sights[i], products[i], at + 4u * (l % LANES)) - ofRow.x);
      dScores[i] = weights * (dScores[i] - ofRow.y) * u.scale;
    }
    storeWeights(l, dScores);
    mixKeys(l, stop - at, &dQueries);`,
  )}
  for (var i = 0u; i < EACH; i++) { dqPut(l, i, own[i], &dQueries); }
}`,
});

/** The same by blocks of keys, over the queries of all heads that share them: `dV = P^T dO` and `dK = dS^T Q`. */
const keyGradient = (tile: AttentionTile, element: Element): Program => ({
  name: `FlashAttentionGradient of k and v, ${tile.vectors} vectors of ${tile.lanes} lanes`,
  outputs: { dk: element, dv: element },
  inputs: gradientInputs(element),
  uniforms: UNIFORMS,
  code: `
${tileMemory(tile)}
var<workgroup> beforeEnd: atomic<u32>; // seq less the first query that sees a key of the block
var<workgroup> afterLast: atomic<u32>; // the query behind the last one
var<workgroup> queries: vec2u;
${PLACES}
${SIGHT}
${gradientReaders(element)}
${writer('dk', element)}
${writer('dv', element)}
${product('keysTimesQueries', 'k', 'q')}
${product('valuesTimesGradients', 'v', 'dy')}
${mix('mixGradients', 'dy')}
${mix('mixQueries', 'q')}
${begin(tile)}
  for (var i = l; i < u.seq; i += TILE_THREADS) {
    let first = u32(visible[item * u.seq + i]);
    let end = u32(visible[u.queries + item * u.seq + i]);
    if (first < min(end, top + ROWS) && top < end) {
      atomicMax(&beforeEnd, u.seq - i);
      atomicMax(&afterLast, i + 1u);
    }
  }
  for (var i = l; i < ROWS; i += TILE_THREADS) { places[i] = keyPlace(top + i); }
  workgroupBarrier();
  if (l == 0u) { queries = vec2u(u.seq - atomicLoad(&beforeEnd), atomicLoad(&afterLast)) * (u.heads / u.kvHeads); }
  let rows = workgroupUniformLoad(&queries);
  let start = rows.x;
  let stop = rows.y;
  var dKeys: Sums;
  var dValues: Sums;
  ${overTiles(
    'queryPlace',
    `var weights = keysTimesQueries(l);
    var dScores = valuesTimesGradients(l);
    var sights: array<Sight, 4>;
    var ofColumns: array<vec2f, 4>;
    for (var j = 0u; j < 4u; j++) {
      let place = places[placeOf(l, j)];
      sights[j] = sightOf(place);
      ofColumns[j] = statisticsOf(place);
    }
    let lse = vec4f(ofColumns[0].x, ofColumns[1].x, ofColumns[2].x, ofColumns[3].x);
    let drift = vec4f(ofColumns[0].y, ofColumns[1].y, ofColumns[2].y, ofColumns[3].y);
    for (var i = 0u; i < EACH; i++) {
      let key = top + rowOf(l, i);
      weights[i] = exp(vec4f(
        scoreOf(sights[0], weights[i].x, key), scoreOf(sights[1], weights[i].y, key),
        scoreOf(sights[2], weights[i].z, key), scoreOf(sights[3], weights[i].w, key),
      ) - lse);
      dScores[i] = weights[i] * (dScores[i] - drift) * u.scale;
    }
    storeWeights(l, weights);
    mixGradients(l, stop - at, &dValues);
    storeWeights(l, dScores);
    mixQueries(l, stop - at, &dKeys);`,
  )}
  for (var i = 0u; i < EACH; i++) {
    dkPut(l, i, places[rowOf(l, i)], &dKeys);
    dvPut(l, i, places[rowOf(l, i)], &dValues);
  }
}`,
});

/** The programs of a size of heads, and their tiles. */
interface Programs {
  readonly tall: AttentionTile;
  readonly short: AttentionTile;
  readonly forward: Program;
  readonly forwardOfFew: Program;
  readonly queryGradient: Program;
  readonly keyGradient: Program;
}

const written = new Map<string, Programs>();

/** The same for all heads that need as many vectors, so that few pipelines are compiled. */
export function programsFor(headDim: number): Programs {
  const [tall, short] = [tallTile(headDim), shortTile(headDim)];
  const element = headDim % 4 === 0 ? 'vec4f' : 'f32';
  const key = [tall.lanes, tall.vectors, element].join();
  const programs = written.get(key) ?? {
    tall,
    short,
    forward: forward(tall, element),
    forwardOfFew: forward(short, element),
    queryGradient: queryGradient(tall, element),
    keyGradient: keyGradient(tall, element),
  };
  written.set(key, programs);
  return programs;
}
