import * as tf from '@tensorflow/tfjs-core';
import type { FrozenDtype } from '../frozen-matrix.js';
import { replaceKernel } from '../replace-kernel.js';
import { FEW, fewRows, OUTPUTS } from './few-rows.js';
import { groupedProduct, tilesOf } from './grouped-product.js';
import { type Packed, packedAs, packedWeights } from './packed-weights.js';
import { RecentUploads } from './recent-uploads.js';
import type { Program, Recorder } from './recorder.js';
import { COLUMNS, SHORT, TALL } from './tile.js';
import { inLine, MAIN, THREADS, threadsFor } from './workgroups.js';

interface Attrs {
  readonly dtype: FrozenDtype;
  readonly inputSize: number;
  readonly backward: boolean;
}

type Infos = Record<string, tf.TensorInfo>;

/** Rows as they lie, or by number, zero for a number outside; a thread for each int32 of them. */
const thawRows = ({ dtype, perWord, inputs, code }: Packed, byNumber: boolean): Program => ({
  name: `ThawRows of ${dtype}${byNumber ? ' by number' : ''}`,
  outputs: { y: 'f32' },
  inputs: { ...inputs, ...(byNumber && { ids: 'i32' }) },
  uniforms: { count: 'u32', held: 'u32', words: 'u32', width: 'u32' },
  code: `
${code}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.count * u.words) { return; }
  let row = ${byNumber ? 'u32(ids[i / u.words])' : 'i / u.words'};
  let place = min(row, u.held - 1u);
  let word = packed[place * u.words + i % u.words];
  let scale = scaleOf(place);
  let start = i % u.words * ${perWord}u;
  for (var p = 0u; p < ${perWord}u && start + p < u.width; p++) {
    y[i / u.words * u.width + start + p] = select(0.0, part(word, p) * scale, row == place);
  }
}`,
});

function programsOf(dtype: FrozenDtype) {
  const packed = packedAs(dtype);
  const tiles = (backward: boolean) => ({
    short: groupedProduct(SHORT, packedWeights(packed, backward)),
    tall: groupedProduct(TALL, packedWeights(packed, backward)),
  });
  return {
    all: thawRows(packed, false),
    byNumber: thawRows(packed, true),
    one: fewRows(packed, 1),
    few: fewRows(packed, FEW),
    forward: tiles(false),
    backward: tiles(true),
  };
}
const programs = { int8: programsOf('int8'), bfloat16: programsOf('bfloat16'), float16: programsOf('float16') };

/** Products with weights of fewer bytes, thawed in registers (few rows) or on their way into workgroup memory (many). */
export function installFrozen(recorder: Recorder): void {
  const uploads = new RecentUploads(recorder);
  const register = (name: string, run: (inputs: Infos, attrs: Attrs) => tf.TensorInfo) =>
    replaceKernel(name, 'webgpu', ({ inputs, attrs }) => run(inputs as Infos, attrs as unknown as Attrs));

  register('ThawRows', (inputs, { dtype, inputSize: width }) => {
    const { packed, ids } = inputs;
    const [rows, words] = [packed!.shape.slice(0, -1), packed!.shape.at(-1)!];
    const outer = ids?.shape ?? rows;
    const [count, held] = [tf.util.sizeFromShape(outer), tf.util.sizeFromShape(rows)];
    const program = programs[dtype][ids ? 'byNumber' : 'all'];
    const sizes = { count, held, words, width };
    return recorder.run(program, inputs, { y: [...outer, width] }, sizes, threadsFor(count * words))[0]!;
  });

  register('FrozenMatMul', (inputs, attrs) => {
    const offsets = uploads.get(Int32Array.of(0, inputs.x!.shape[0]!)); // the rows are all of one expert
    return multiply(recorder, { ...inputs, offsets }, attrs);
  });

  register('GroupedFrozenMatMulOnDevice', (inputs, attrs) => multiply(recorder, inputs, attrs));
}

function multiply(recorder: Recorder, inputs: Infos, { dtype, inputSize, backward }: Attrs): tf.TensorInfo {
  const { x, packed, offsets } = inputs;
  const [rows, experts] = [x!.shape[0]!, offsets!.shape[0]! - 1];
  const [outputSize, words] = packed!.shape.slice(-2) as [number, number];
  const [inner, columns] = backward ? [outputSize, inputSize] : [inputSize, outputSize];
  const run = (program: Program, workgroups: readonly [number, number, number]) =>
    recorder.run(program, inputs, { y: [rows, columns] }, { rows, inner, columns, experts, words }, workgroups)[0]!;
  const { one, few, ...tiled } = programs[dtype];
  const each = rows / experts;
  if (!backward && each <= FEW) {
    const [program, tile] = each <= 1 ? [one, 1] : [few, FEW];
    const [across, lines] = inLine(Math.ceil(columns / OUTPUTS));
    return run(program, [across, lines, tilesOf(rows, experts, tile)]);
  }
  const { short, tall } = tiled[backward ? 'backward' : 'forward'];
  const [program, tile] = each < TALL.rows / 2 ? [short, SHORT] : [tall, TALL];
  const [y, z] = inLine(tilesOf(rows, experts, tile.rows));
  return run(program, [Math.ceil(columns / COLUMNS), y, z]);
}
