import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { routeToken, type TokenChoice } from './route-token.js';
import { ranges, STREAM, stripWidth } from './split.js';
import type { KernelCall } from './threads.js';

type Infos = Record<string, tf.TensorInfo>;
type Address = number;

/**
 * One token through one decoder layer. The steps are calls into the module, which cost next to nothing (some 15 ns);
 * what tfjs does around every op costs a thousand times that, and happens once here.
 */
export function installDecodeLayer(heap: WasmHeap): void {
  replaceKernel('DecodeLayer', 'wasm', ({ inputs, attrs }) => {
    const { numExpertsPerTok, normTopkProb, ...attention } = attrs as unknown as LayerAttributes;
    const tensors = inputs as Infos;
    const sizes = sizesOf(tensors);
    const work = layOut(heap, sizes, tensors.gate ? numExpertsPerTok : 1);
    attend(heap, tensors, sizes, work, attention);
    const logits = gateLogits(heap, tensors, sizes, work, attention.epsilon);
    const choice = logits && routeToken(logits, numExpertsPerTok, normTopkProb); // throws before outputs exist
    const hidden = heap.output([1, sizes.hidden]);
    heap.view(hidden).set(heap.floats(work.mixed, sizes.hidden));
    applyExperts(heap, tensors, sizes, work, choice, heap.address(hidden));
    return choice ? [hidden, ...routingOutputs(heap, logits, choice)] : [hidden];
  });
}

interface AttentionAttributes {
  readonly epsilon: number;
  readonly position: number;
  /** First row of the cache that the token sees. */
  readonly first: number;
  readonly interleaved: boolean;
}

interface LayerAttributes extends AttentionAttributes {
  readonly numExpertsPerTok: number;
  readonly normTopkProb: boolean;
}

interface LayerSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly experts: number;
  readonly intermediate: number;
  readonly cacheRows: number;
}

function sizesOf({ q, keys, gate, down }: Infos): LayerSizes {
  const [, cacheRows, kvHeads, headDim] = keys!.shape as [number, number, number, number];
  const [hidden, queries] = q!.shape as [number, number];
  const intermediate = down!.shape.at(-2)!;
  const experts = gate ? gate.shape[1]! : 0;
  return { hidden, heads: queries / headDim, kvHeads, headDim, experts, intermediate, cacheRows };
}

/** Keys whose scores `attendOne` holds. */
const KEYS_AT_ONCE = 512;

/** Addresses of the values between two steps, in the heap's scratch. */
interface WorkPlaces {
  readonly normed: Address;
  readonly query: Address;
  readonly attended: Address;
  readonly mixed: Address;
  readonly logits: Address;
  /** A row for each chosen expert, as are the next two. */
  readonly gateUp: Address;
  readonly inner: Address;
  readonly outputs: Address;
  readonly scores: Address;
}

function layOut(
  heap: WasmHeap,
  { hidden, heads, headDim, experts, intermediate, cacheRows }: LayerSizes,
  k: number,
): WorkPlaces {
  const queries = heads * headDim;
  const floats = {
    normed: hidden,
    query: queries,
    attended: queries,
    mixed: hidden,
    logits: experts,
    gateUp: 2 * k * intermediate,
    inner: k * intermediate,
    outputs: k * hidden,
    scores: Math.min(KEYS_AT_ONCE, cacheRows),
  } satisfies Record<keyof WorkPlaces, number>;
  const sizes = Object.entries(floats).map(([name, count]) => [name, (4 * count + 15) & ~15] as const); // 16-byte borders
  let next = heap.scratch(sizes.reduce((sum, [, size]) => sum + size, 0));
  const places = sizes.map(([name, size]) => {
    next += size;
    return [name, next - size] as const;
  });
  return Object.fromEntries(places) as Record<keyof WorkPlaces, Address>;
}

/** y [n] (+)= x [k] x weight [k, n]. */
interface RowProduct {
  readonly x: Address;
  readonly weight: Address;
  readonly k: number;
  readonly n: number;
  readonly y: Address;
  readonly add?: boolean;
}

/** Products that do not depend on each other, in strips of columns that any thread may take. */
function multiply(heap: WasmHeap, products: readonly RowProduct[]): void {
  const calls = products.flatMap(({ x, weight, k, n, y, add = false }) =>
    ranges(n, stripWidth(k)).map(
      ({ first, count }): KernelCall => ['gemvRows', count, k, x, weight + 4 * first, n, y + 4 * first, Number(add)],
    ),
  );
  heap.run(calls, STREAM * products.reduce((sum, { k, n }) => sum + k * n, 0));
}

/** work.mixed = hidden + attention(norm(hidden)); the token's key and value go straight into their row of the cache. */
function attend(
  heap: WasmHeap,
  tensors: Infos,
  { hidden, heads, kvHeads, headDim }: LayerSizes,
  work: WorkPlaces,
  { epsilon, position, first, interleaved }: AttentionAttributes,
): void {
  const { module } = heap;
  const at = (name: string) => heap.address(tensors[name]!);
  const [keys, values, cos, sin] = [at('keys'), at('values'), at('cos'), at('sin')];
  const [row, oldest] = [position, first].map((at) => 4 * at * kvHeads * headDim) as [number, number];
  module.rmsNorm(at('hidden'), at('inputNorm'), 1, hidden, epsilon, work.normed);
  const seen = { x: work.normed, k: hidden };
  multiply(heap, [
    { ...seen, weight: at('q'), n: heads * headDim, y: work.query },
    { ...seen, weight: at('k'), n: kvHeads * headDim, y: keys + row },
    { ...seen, weight: at('v'), n: kvHeads * headDim, y: values + row },
  ]);
  module.rotate(work.query, cos, sin, 1, 1, heads, headDim, 1, interleaved, work.query);
  module.rotate(keys + row, cos, sin, 1, 1, kvHeads, headDim, 1, interleaved, keys + row);
  const shape = [position + 1 - first, heads, kvHeads, headDim] as const;
  module.attendOne(work.query, keys + oldest, values + oldest, work.attended, ...shape, headDim ** -0.5, work.scores);
  heap.floats(work.mixed, hidden).set(heap.floats(at('hidden'), hidden));
  multiply(heap, [{ x: work.attended, weight: at('o'), k: heads * headDim, n: hidden, y: work.mixed, add: true }]);
}

/** work.normed = norm(work.mixed), and the gate's logits of it if there is a gate. */
function gateLogits(
  heap: WasmHeap,
  { postAttentionNorm, gate }: Infos,
  { hidden, experts }: LayerSizes,
  work: WorkPlaces,
  epsilon: number,
): Float32Array | undefined {
  heap.module.rmsNorm(work.mixed, heap.address(postAttentionNorm!), 1, hidden, epsilon, work.normed);
  if (!gate) return undefined;
  multiply(heap, [{ x: work.normed, weight: heap.address(gate), k: hidden, n: experts, y: work.logits }]);
  return heap.floats(work.logits, experts).slice();
}

/** hidden += the weighted outputs of the chosen experts, or of the dense feed-forward. */
function applyExperts(
  heap: WasmHeap,
  { gateUp, down }: Infos,
  { hidden, intermediate }: LayerSizes,
  work: WorkPlaces,
  choice: TokenChoice | undefined,
  target: Address,
): void {
  const { indices, weights } = choice ?? wholeToOne;
  const [wide, narrow] = [heap.address(gateUp!), heap.address(down!)];
  const chosen = [...indices].map((expert, i) => ({
    matrix: 4 * expert * hidden * intermediate,
    gateUp: work.gateUp + 8 * i * intermediate,
    inner: work.inner + 4 * i * intermediate,
    output: work.outputs + 4 * i * hidden,
  }));
  const [up, back] = [
    { x: work.normed, k: hidden, n: 2 * intermediate },
    { k: intermediate, n: hidden },
  ];
  multiply(
    heap,
    chosen.map(({ matrix, gateUp }) => ({ ...up, weight: wide + 2 * matrix, y: gateUp })),
  );
  heap.module.swiGlu(work.gateUp, chosen.length, intermediate, work.inner);
  multiply(
    heap,
    chosen.map(({ matrix, inner, output }) => ({ ...back, x: inner, weight: narrow + matrix, y: output })),
  );
  const sum = heap.floats(target, hidden);
  for (const [i, { output }] of chosen.entries()) {
    const values = heap.floats(output, hidden);
    for (let j = 0; j < hidden; j++) sum[j]! += weights[i]! * values[j]!;
  }
}

/** A dense feed-forward is one expert that every token visits. */
const wholeToOne = { indices: Int32Array.of(0), weights: Float32Array.of(1) };

function routingOutputs(heap: WasmHeap, logits: Float32Array, choice: TokenChoice): tf.TensorInfo[] {
  const { probabilities, indices, weights } = choice;
  return [logits, probabilities, indices, weights].map((values) => {
    const out = heap.output([1, values.length], values === indices ? 'int32' : 'float32');
    heap.view(out).set(values);
    return out;
  });
}
