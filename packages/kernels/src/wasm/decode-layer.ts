import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';
import { routeToken, type TokenChoice } from './route-token.js';

type Infos = Record<string, tf.TensorInfo>;
type Address = number;

/**
 * One token through one decoder layer. The steps are calls into the module, which cost next to nothing (some 15 ns);
 * what tfjs does around every op costs a thousand times that, and happens once here.
 */
export function installDecodeLayer(heap: WasmHeap): void {
  replaceKernel('DecodeLayer', 'wasm', ({ inputs, attrs }) => {
    const { epsilon, position, numExpertsPerTok, normTopkProb } = attrs as unknown as LayerAttributes;
    const tensors = inputs as Infos;
    const sizes = sizesOf(tensors);
    const work = layOut(heap, sizes);
    attend(heap, tensors, sizes, work, { epsilon, position });
    const logits = gateLogits(heap, tensors, sizes, work, epsilon);
    const choice = logits && routeToken(logits, numExpertsPerTok, normTopkProb); // throws before outputs exist
    const hidden = heap.output([1, sizes.hidden]);
    heap.view(hidden).set(heap.floats(work.mixed, sizes.hidden));
    applyExperts(heap, tensors, sizes, work, choice, heap.address(hidden));
    return choice ? [hidden, ...routingOutputs(heap, logits, choice)] : [hidden];
  });
}

interface LayerAttributes {
  readonly epsilon: number;
  readonly position: number;
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

/** Addresses of the values between two steps, in the heap's scratch. */
interface WorkPlaces {
  readonly normed: Address;
  readonly query: Address;
  readonly attended: Address;
  readonly mixed: Address;
  readonly logits: Address;
  readonly gateUp: Address;
  readonly inner: Address;
  readonly scores: Address;
}

function layOut(heap: WasmHeap, { hidden, heads, headDim, experts, intermediate, cacheRows }: LayerSizes): WorkPlaces {
  const queries = heads * headDim;
  const floats = [hidden, queries, queries, hidden, experts, 2 * intermediate, intermediate, cacheRows];
  const bytes = floats.map((count) => (4 * count + 15) & ~15); // each on a vector's border
  let next = heap.scratch(bytes.reduce((sum, size) => sum + size, 0));
  const [normed, query, attended, mixed, logits, gateUp, inner, scores] = bytes.map((size) => {
    next += size;
    return next - size;
  }) as [Address, Address, Address, Address, Address, Address, Address, Address];
  return { normed, query, attended, mixed, logits, gateUp, inner, scores };
}

/**
 * y [n] (+)= x [k] x weight [k, n]. The one place where the columns of a product could be shared out among threads:
 * columns from `from` on are at `weight + 4 * from` and `y + 4 * from`, with the same row length.
 */
function product({ module }: WasmHeap, x: Address, weight: Address, k: number, n: number, y: Address, add = false) {
  module.gemvRows(n, k, x, weight, n, y, add);
}

/** work.mixed = hidden + attention(norm(hidden)); the token's key and value go straight into their row of the cache. */
function attend(
  heap: WasmHeap,
  tensors: Infos,
  { hidden, heads, kvHeads, headDim }: LayerSizes,
  work: WorkPlaces,
  { epsilon, position }: { epsilon: number; position: number },
): void {
  const { module } = heap;
  const at = (name: string) => heap.address(tensors[name]!);
  const [keys, values, cos, sin] = [at('keys'), at('values'), at('cos'), at('sin')];
  const row = 4 * position * kvHeads * headDim;
  module.rmsNorm(at('hidden'), at('inputNorm'), 1, hidden, epsilon, work.normed);
  product(heap, work.normed, at('q'), hidden, heads * headDim, work.query);
  product(heap, work.normed, at('k'), hidden, kvHeads * headDim, keys + row);
  product(heap, work.normed, at('v'), hidden, kvHeads * headDim, values + row);
  module.rotate(work.query, cos, sin, 1, 1, heads, headDim, 1, work.query);
  module.rotate(keys + row, cos, sin, 1, 1, kvHeads, headDim, 1, keys + row);
  const shape = [position + 1, heads, kvHeads, headDim] as const;
  module.attendOne(work.query, keys, values, work.attended, ...shape, headDim ** -0.5, work.scores);
  heap.floats(work.mixed, hidden).set(heap.floats(at('hidden'), hidden));
  product(heap, work.attended, at('o'), heads * headDim, hidden, work.mixed, true);
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
  product(heap, work.normed, heap.address(gate), hidden, experts, work.logits);
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
  const { module } = heap;
  const { indices, weights } = choice ?? wholeToOne;
  const [wide, narrow] = [heap.address(gateUp!), heap.address(down!)];
  indices.forEach((expert, i) => {
    const matrix = 4 * expert * hidden * intermediate;
    product(heap, work.normed, wide + 2 * matrix, hidden, 2 * intermediate, work.gateUp);
    module.swiGlu(work.gateUp, 1, intermediate, work.inner);
    if (weights[i] !== 1) module.scale(work.inner, intermediate, weights[i]!);
    product(heap, work.inner, narrow + matrix, intermediate, hidden, target, true);
  });
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
