import * as tf from '@tensorflow/tfjs-core';
import { relaxedSimdModule } from './generated/relaxed-simd-module.js';
import { simdModule } from './generated/simd-module.js';
import { shareMemory } from './share-memory.js';
import { defaultThreadCount, type KernelCall, makeCall, Threads } from './threads.js';

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

/** A product with a frozen weight: `m` rows of `x`, an `n` and a `k`, into rows of `c` that are `ldc` floats apart. */
type FrozenProduct = (
  kind: number,
  m: number,
  n: number,
  k: number,
  x: Address,
  packed: Address,
  rowBytes: number,
  scales: Address,
  c: Address,
  ldc: number,
  scratch: Address,
) => void;

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
  thawRows(
    kind: number,
    packed: Address,
    rowBytes: number,
    scales: Address,
    ids: Address,
    rows: number,
    columns: number,
    out: Address,
  ): void;
  frozenGemv(
    kind: number,
    n: number,
    k: number,
    x: Address,
    packed: Address,
    rowBytes: number,
    scales: Address,
    y: Address,
  ): void;
  frozenGemm: FrozenProduct;
  frozenGemmBack: FrozenProduct;
  frozenScratchBytes(): number;
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
  ): void;
  transposeBlock(
    x: Address,
    rows: number,
    xRow: number,
    count: number,
    y: Address,
    yRow: number,
    scratch: Address,
  ): void;
  transposeHalves(
    x: Address,
    rows: number,
    xRow: number,
    count: number,
    bfloat16: boolean,
    y: Address,
    yRow: number,
    scratch: Address,
  ): void;
  transposeScratchBytes(): number;
  widenHalves(x: Address, count: number, bfloat16: boolean, y: Address): void;
  packInt8(x: Address, rows: number, width: number, packed: Address, scales: Address): void;
  unpackInt8(packed: Address, scales: Address, rows: number, width: number, y: Address): void;
  sumRows(x: Address, rows: number, width: number, out: Address): void;
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
    interleaved: boolean,
    y: Address,
  ): void;
  attention(
    q: Address,
    k: Address,
    v: Address,
    o: Address,
    lse: Address,
    first: Address,
    end: Address,
    queries: number,
    qRow: number,
    kRow: number,
    headDim: number,
    scale: number,
    slope: number,
    scratch: Address,
  ): void;
  attentionScratchBytes(headDim: number): number;
  attentionGradient(
    dO: Address,
    q: Address,
    k: Address,
    v: Address,
    o: Address,
    lse: Address,
    dQ: Address,
    dK: Address,
    dV: Address,
    first: Address,
    end: Address,
    queries: number,
    keys: number,
    qRow: number,
    kRow: number,
    headDim: number,
    scale: number,
    slope: number,
    scratch: Address,
  ): void;
  attentionGradientScratchBytes(headDim: number): number;
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
  sumOfSquares(x: Address, n: number, out: Address): void;
  sumDoubles(x: Address, n: number): number;
}

/**
 * tfjs's wasm heap with our module working in it. Making an output may grow the memory, which detaches every typed
 * array: make outputs first, take addresses and views after.
 */
export interface WasmHeap {
  readonly module: KernelModule;
  readonly instructions: 'relaxed-simd' | 'simd';
  /** How many threads `run` has. */
  readonly threads: number;
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
  /**
   * Makes calls that write apart from each other, on all threads when they are worth it. Cut work by its sizes alone,
   * never by the number of threads: then every number of threads gives the same bits.
   *
   * @param work multiply-adds of all calls, or as many as take that time.
   * @param scratchBytes what `SCRATCH` stands for in a call.
   */
  run(calls: readonly KernelCall[], work: number, scratchBytes?: number): void;
}

/** Multiply-adds below which waking a worker costs more than it saves. */
const WORTH_SHARING = 1 << 20;

/** Instantiates the module compiled for these instructions; it works on the given memory and has none of its own. */
export async function instantiateKernels(
  instructions: WasmHeap['instructions'],
  memory: WebAssembly.Memory,
): Promise<KernelModule> {
  return instantiate(await compileFor(memory, instructions), memory);
}

/** A memory shared between threads is another type of import than one that is not. */
function compileFor(memory: WebAssembly.Memory, instructions: WasmHeap['instructions']): Promise<WebAssembly.Module> {
  const bytes = decode(instructions === 'relaxed-simd' ? relaxedSimdModule : simdModule);
  return WebAssembly.compile(isShared(memory) ? shareMemory(bytes)! : bytes);
}

async function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<KernelModule> {
  const instance = await WebAssembly.instantiate(module, { env: { memory, log: Math.log } });
  return instance.exports as unknown as KernelModule;
}

function isShared(memory: WebAssembly.Memory): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer;
}

/**
 * Instantiates the kernels in the memory of the active wasm backend: relaxed SIMD where the engine has it, plain SIMD
 * where not. Workers help where that memory is shared.
 */
export async function openWasmHeap(threadCount = defaultThreadCount()): Promise<WasmHeap> {
  const backend = tf.backend() as WasmBackend;
  const memory = backend.wasm.asm?.memory ?? backend.wasm.wasmMemory;
  if (!(memory instanceof WebAssembly.Memory)) {
    throw new Error("kernels: tfjs-backend-wasm's memory was not found; this package works with version 4.22.");
  }
  const instructions = WebAssembly.validate(decode(relaxedSimdModule)) ? 'relaxed-simd' : 'simd';
  const compiled = await compileFor(memory, instructions);
  const module = await instantiate(compiled, memory);
  const threads = isShared(memory) ? await Threads.start(threadCount, compiled, memory, module) : undefined;
  let scratchAt = 0;
  let scratchBytes = 0;
  const scratch = (bytes: number) => {
    if (bytes > scratchBytes) {
      if (scratchAt) backend.wasm._free(scratchAt);
      scratchAt = backend.wasm._malloc(bytes) >>> 0;
      if (!scratchAt)
        throw new Error(`kernels: the wasm heap has no room for ${bytes} bytes of scratch; use a smaller batch.`);
      scratchBytes = bytes;
    }
    return scratchAt;
  };
  return {
    module,
    instructions,
    threads: threads?.count ?? 1,
    output: (shape, dtype = 'float32') => backend.makeOutput([...shape], dtype),
    address: (tensor) => backend.dataIdMap.get(tensor.dataId).memoryOffset,
    view: (tensor) => backend.typedArrayFromHeap(tensor),
    floats: (at, count) => new Float32Array(memory.buffer, at, count),
    scratch,
    run(calls, work, bytes = 0) {
      if (threads && work >= WORTH_SHARING && calls.length > 1) {
        const stride = Math.ceil(bytes / 64) * 64;
        threads.run(calls, { at: bytes && scratch(stride * threads.count), stride });
      } else {
        const at = bytes && scratch(bytes);
        for (const call of calls) makeCall(module, call, at);
      }
    },
  };
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
