import * as tf from '@tensorflow/tfjs-core';
import { unpackedSizes } from '../int8.js';
import { replaceKernel } from '../replace-kernel.js';
import type { Program, Recorder } from './recorder.js';
import { MAIN, THREADS, threadsFor } from './workgroups.js';

/** WGSL: bits that turn the three lower bytes, which lie 128 higher, into signed ones. */
const LOWER = '0x00808080';

/** A thread for each row: few of them are packed at once, and none is long. */
const packInt8: Program = {
  name: 'PackInt8',
  outputs: { packed: 'i32', scales: 'f32' },
  inputs: { x: 'f32' },
  uniforms: { rows: 'u32', quarter: 'u32' },
  code: `
fn whole(v: f32, scale: f32) -> i32 { return i32(round(v / scale)); }
${MAIN}
  let row = group * ${THREADS}u + l;
  if (row >= u.rows) { return; }
  let start = row * 4u * u.quarter;
  var largest = 0.0;
  for (var j = start; j < start + 4u * u.quarter; j++) { largest = max(largest, abs(x[j])); }
  scales[row] = largest / 127.0;
  let scale = select(1.0, largest / 127.0, largest > 0.0);
  for (var j = 0u; j < u.quarter; j++) {
    var bytes = 0;
    for (var part = 0u; part < 4u; part++) {
      bytes |= (whole(x[start + part * u.quarter + j], scale) & 255) << (8u * part);
    }
    packed[row * u.quarter + j] = bytes ^ ${LOWER};
  }
}`,
};

/** A thread for each four numbers. */
const unpackInt8: Program = {
  name: 'UnpackInt8',
  outputs: { y: 'f32' },
  inputs: { packed: 'i32', scales: 'f32' },
  uniforms: { count: 'u32', held: 'u32', wanted: 'u32', quarter: 'u32' },
  code: `
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.count) { return; }
  let row = i / u.quarter;
  let place = row / u.wanted * u.held + row % u.wanted;
  let bytes = packed[place * u.quarter + i % u.quarter] ^ ${LOWER};
  for (var part = 0u; part < 4u; part++) {
    y[(4u * row + part) * u.quarter + i % u.quarter] = f32(extractBits(bytes, 8u * part, 8u)) * scales[place];
  }
}`,
};

/** Floats to 8 bits and back. The integer arithmetic of tfjs itself goes through float32 here, which has no 32 bits. */
export function installInt8(recorder: Recorder): void {
  replaceKernel('PackInt8', 'webgpu', ({ inputs }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const [outer, quarter] = [x.shape.slice(0, -1), x.shape.at(-1)! / 4];
    const rows = tf.util.sizeFromShape(outer);
    const shapes = { packed: [...outer, quarter], scales: [...outer, 1] };
    return recorder.run(packInt8, { x }, shapes, { rows, quarter }, threadsFor(rows));
  });

  replaceKernel('UnpackInt8', 'webgpu', ({ inputs, attrs }) => {
    const { packed, scales } = inputs as Record<'packed' | 'scales', tf.TensorInfo>;
    const { batch, held, wanted, quarter, shape } = unpackedSizes(packed, (attrs as { rows?: number }).rows);
    const count = batch * wanted * quarter;
    const sizes = { count, held, wanted, quarter };
    return recorder.run(unpackInt8, { packed, scales }, { y: shape }, sizes, threadsFor(count))[0]!;
  });
}
