import * as tf from '@tensorflow/tfjs-core';
import { relaxedSimdModule } from './generated/relaxed-simd-module.js';
import { simdModule } from './generated/simd-module.js';

/**
 * What this package reads of tfjs-backend-wasm 4.22: its memory, its allocator and where a tensor lies. Private to
 * tfjs, pinned by version.
 */
interface WasmBackend extends tf.KernelBackend {
  wasm: {
    asm: { memory: WebAssembly.Memory };
    wasmMemory?: WebAssembly.Memory;
    _malloc(bytes: number): number;
    _free(at: number): void;
  };
  dataIdMap: { get(dataId: object): { memoryOffset: number } };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): Float32Array | Int32Array | Uint8Array;
}

type Address = number;

/** The exports of `assembly/index.ts`; sizes are counts, addresses are byte offsets. */
export interface KernelModule {
  gemm(
    m: number,
    n: number,
    k: number,
    a: Address,
    aRow: number,
    aColumn: number,
    b: Address,
    bRow: number,
    bColumn: number,
    c: Address,
    ldc: number,
    scratch: Address,
    accumulate: boolean,
  ): void;
  gemmScratchBytes(): number;
  gemvRows(n: number, k: number, x: Address, b: Address, ldb: number, y: Address, accumulate: boolean): void;
  gemvColumns(n: number, k: number, x: Address, b: Address, ldb: number, y: Address): void;
  attendOne(
    q: Address,
    k: Address,
    v: Address,
    o: Address,
    keys: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    scale: number,
    scores: Address,
  ): void;
  scale(x: Address, n: number, factor: number): void;
  gatherRows(x: Address, rows: number, widthBytes: number, indices: Address, count: number, out: Address): number;
  scatterAddRows(x: Address, count: number, width: number, indices: Address, out: Address, rows: number): void;
  takeRows(x: Address, rows: number, width: number, indices: Address, count: number, out: Address): void;
  combineRows(
    x: Address,
    rows: number,
    width: number,
    slots: Address,
    weights: Address,
    tokens: number,
    k: number,
    out: Address,
  ): void;
  combineRowsGradient(
    dy: Address,
    x: Address,
    rows: number,
    width: number,
    slots: Address,
    weights: Address,
    tokens: number,
    k: number,
    dx: Address,
    dWeights: Address,
    clear: boolean,
  ): void;
  rmsNorm(x: Address, weight: Address, rows: number, width: number, epsilon: number, y: Address): void;
  rmsNormGradient(
    dy: Address,
    x: Address,
    weight: Address,
    rows: number,
    width: number,
    epsilon: number,
    dx: Address,
    dWeight: Address,
  ): void;
  swiGlu(x: Address, rows: number, width: number, y: Address): void;
  swiGluGradient(dy: Address, x: Address, rows: number, width: number, dx: Address): void;
  rotate(
    x: Address,
    cos: Address,
    sin: Address,
    rows: number,
    seq: number,
    heads: number,
    headDim: number,
    direction: number,
    y: Address,
  ): void;
  attention(
    q: Address,
    k: Address,
    v: Address,
    o: Address,
    batch: number,
    queries: number,
    keys: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    scale: number,
    causal: boolean,
    scratch: Address,
  ): void;
  attentionGradient(
    dO: Address,
    q: Address,
    k: Address,
    v: Address,
    o: Address,
    dQ: Address,
    dK: Address,
    dV: Address,
    batch: number,
    queries: number,
    keys: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    scale: number,
    causal: boolean,
    scratch: Address,
  ): void;
  attentionScratchBytes(keys: number): number;
  crossEntropy(
    logits: Address,
    targets: Address,
    rows: number,
    vocab: number,
    losses: Address,
    dy: Address,
    gradient: Address,
  ): void;
  adamW(
    parameter: Address,
    gradient: Address,
    first: Address,
    second: Address,
    n: number,
    rate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    decay: number,
    inverseRoot: number,
    gradientScale: number,
  ): void;
  sumOfSquares(x: Address, n: number): number;
}

/**
 * tfjs's wasm heap with our module working in it. Making an output may grow the memory, which detaches every typed
 * array: make outputs first, take addresses and views after.
 */
export interface WasmHeap {
  readonly module: KernelModule;
  readonly instructions: 'relaxed-simd' | 'simd';
  /** A new uninitialised tensor. */
  output(shape: readonly number[], dtype?: tf.DataType): tf.TensorInfo;
  /** Byte offset of a tensor's values. */
  address(tensor: tf.TensorInfo): Address;
  /** A view of a tensor's values, valid until the next `output`. */
  view(tensor: tf.TensorInfo): Float32Array | Int32Array | Uint8Array;
  /** A view of floats anywhere in the heap, valid until the next `output`. */
  floats(at: Address, count: number): Float32Array;
  /** At least this many bytes of working memory, the same piece at every call. */
  scratch(bytes: number): Address;
}

/** Instantiates the module compiled for these instructions; it works on the given memory and has none of its own. */
export async function instantiateKernels(
  instructions: WasmHeap['instructions'],
  memory: WebAssembly.Memory,
): Promise<KernelModule> {
  const bytes = decode(instructions === 'relaxed-simd' ? relaxedSimdModule : simdModule);
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory, log: Math.log } });
  return instance.exports as unknown as KernelModule;
}

/**
 * Instantiates the kernels in the memory of the active wasm backend: relaxed SIMD where the engine has it, plain SIMD
 * where not.
 */
export async function openWasmHeap(): Promise<WasmHeap> {
  const backend = tf.backend() as WasmBackend;
  const memory = backend.wasm.asm?.memory ?? backend.wasm.wasmMemory;
  if (!(memory instanceof WebAssembly.Memory)) {
    throw new Error("kernels: tfjs-backend-wasm's memory was not found; this package works with version 4.22.");
  }
  const instructions = WebAssembly.validate(decode(relaxedSimdModule)) ? 'relaxed-simd' : 'simd';
  const module = await instantiateKernels(instructions, memory);
  let scratchAt = 0;
  let scratchBytes = 0;
  return {
    module,
    instructions,
    output: (shape, dtype = 'float32') => backend.makeOutput([...shape], dtype),
    address: (tensor) => backend.dataIdMap.get(tensor.dataId).memoryOffset,
    view: (tensor) => backend.typedArrayFromHeap(tensor),
    floats: (at, count) => new Float32Array(memory.buffer, at, count),
    scratch(bytes) {
      if (bytes > scratchBytes) {
        if (scratchAt) backend.wasm._free(scratchAt);
        scratchAt = backend.wasm._malloc(bytes);
        if (!scratchAt)
          throw new Error(`kernels: the wasm heap has no room for ${bytes} bytes of scratch; use a smaller batch.`);
        scratchBytes = bytes;
      }
      return scratchAt;
    },
  };
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
