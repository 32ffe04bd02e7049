import * as tf from '@tensorflow/tfjs-core';

interface Heap {
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  typedArrayFromHeap(tensor: tf.TensorInfo): Float32Array | Int32Array;
}

/**
 * Adds to the wasm backend, in plain JavaScript, the one kernel it lacks for training: without UnsortedSegmentSum the
 * gradient of `gather`, which an embedding needs, throws.
 */
export function addSegmentSum(): void {
  tf.registerKernel({
    kernelName: 'UnsortedSegmentSum',
    backendName: 'wasm',
    kernelFunc: segmentSum as unknown as tf.KernelFunc,
  });
}

function segmentSum({
  inputs: { x, segmentIds },
  attrs: { numSegments },
}: {
  inputs: { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
  attrs: { numSegments: number };
}): tf.TensorInfo {
  const heap = tf.backend() as unknown as Heap;
  const inner = x.shape.slice(segmentIds.shape.length);
  const width = tf.util.sizeFromShape(inner);
  const out = heap.makeOutput([numSegments, ...inner], x.dtype); // first: it may grow the heap, which detaches views
  const sums = heap.typedArrayFromHeap(out).fill(0);
  const values = heap.typedArrayFromHeap(x);
  const ids = heap.typedArrayFromHeap(segmentIds);
  for (let row = 0; row < ids.length; row++) {
    const to = ids[row] * width;
    for (let i = 0; i < width; i++) sums[to + i] += values[row * width + i];
  }
  return out;
}
