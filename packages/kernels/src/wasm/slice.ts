import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { WasmHeap } from './heap.js';

type Numbers = Float32Array | Int32Array | Uint8Array;

/** Numbers below which a loop beats `TypedArray.set`. */
const SHORT_RUN = 16;

/** tfjs-wasm's Slice copies the whole input before it takes its part; this one reads the part where it lies. */
export function installSlice(heap: WasmHeap): void {
  const stock = tf.getKernel('Slice', 'wasm')!.kernelFunc;
  replaceKernel('Slice', 'wasm', (call) => {
    const { x } = call.inputs as { x: tf.TensorInfo };
    if (x.dtype === 'string') return stock(call);
    const { begin, size } = call.attrs as unknown as { begin: number | number[]; size: number | number[] };
    const [from, shape] = tf.slice_util.parseSliceParams(x as tf.Tensor, begin, size) as [number[], number[]];
    tf.slice_util.assertParamsValid(x as tf.Tensor, from, shape);
    const out = heap.output(shape, x.dtype);
    copyRuns(heap.view(x), x.shape, from, shape, heap.view(out));
    return out;
  });
}

/** Copies a part in runs that lie together in the source: the trailing dimensions taken whole, and one before them. */
function copyRuns(
  source: Numbers,
  whole: readonly number[],
  from: readonly number[],
  part: readonly number[],
  out: Numbers,
) {
  let axis = part.length;
  while (axis > 0 && part[axis - 1] === whole[axis - 1]) axis--;
  const outer = Math.max(0, axis - 1);
  const run = tf.util.sizeFromShape(part.slice(outer) as number[]);
  if (run === 0) return;
  const strides = whole.map((_, i) => tf.util.sizeFromShape(whole.slice(i + 1) as number[]));
  const start = from.reduce((sum, at, i) => sum + at * strides[i]!, 0);
  for (let target = 0; target < out.length; target += run) {
    let rest = target / run;
    let at = start;
    for (let i = outer - 1; i >= 0; i--) {
      at += (rest % part[i]!) * strides[i]!;
      rest = Math.floor(rest / part[i]!);
    }
    copy(source, at, run, out, target);
  }
}

function copy(source: Numbers, at: number, run: number, out: Numbers, target: number): void {
  if (run >= SHORT_RUN) out.set(source.subarray(at, at + run), target);
  else for (let i = 0; i < run; i++) out[target + i] = source[at + i]!;
}
