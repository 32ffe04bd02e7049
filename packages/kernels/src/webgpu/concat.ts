import * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import type { Program, Recorder } from './recorder.js';
import { MAIN, THREADS, threadsFor } from './workgroups.js';

/** The rows of one tensor go to their place in the rows of the whole; a thread for each number. */
const joinRows: Program = {
  name: 'Concat of int32',
  outputs: { y: 'i32' },
  inputs: { x: 'i32' },
  uniforms: { count: 'u32', width: 'u32', total: 'u32', place: 'u32' },
  code: `
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i < u.count) { y[i / u.width * u.total + u.place + i % u.width] = x[i]; }
}`,
};

/** tfjs's own takes int32 through float32, which holds no four packed bytes: these are copied as they are. */
export function installConcat(recorder: Recorder): void {
  const stock = tf.getKernel('Concat', 'webgpu')!.kernelFunc;
  replaceKernel('Concat', 'webgpu', (params) => {
    const parts = params.inputs as unknown as readonly tf.TensorInfo[];
    const full = parts.filter(({ shape }) => tf.util.sizeFromShape(shape) > 0);
    if (full.length < 2 || parts.some(({ dtype }) => dtype !== 'int32')) return stock(params);
    const shapes = full.map(({ shape }) => shape);
    const [axis] = tf.util.parseAxisParam(params.attrs!.axis as number, shapes[0]!) as [number];
    return join(recorder, full, shapes[0]!.with(axis, sum(shapes.map((shape) => shape[axis]!))), axis);
  });
}

function join(recorder: Recorder, parts: readonly tf.TensorInfo[], shape: number[], axis: number): tf.TensorInfo {
  const total = tf.util.sizeFromShape(shape.slice(axis));
  let place = 0;
  let y: readonly number[] | tf.TensorInfo = shape;
  for (const x of parts) {
    const [count, width] = [tf.util.sizeFromShape(x.shape), tf.util.sizeFromShape(x.shape.slice(axis))];
    [y] = recorder.run(joinRows, { x }, { y }, { count, width, total, place }, threadsFor(count)) as [tf.TensorInfo];
    place += width;
  }
  return y as tf.TensorInfo;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
