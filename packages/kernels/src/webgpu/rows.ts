import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';
import { byWidth } from './by-width.js';
import type { Recorder } from './recorder.js';
import { inLine, MAIN, SUM_OVER_THREADS, THREADS, threadsFor } from './workgroups.js';

type Infos = Record<string, tf.TensorInfo>;

/** `y[t] = sum_j weights[t, j] * rows[rowOfChoice[t, j]]`, or with weights of 1; a thread for each element of `y`. */
const combine = (weighted: boolean) =>
  byWidth(({ element, types }) => ({
    name: 'CombineRows',
    outputs: { y: element },
    inputs: { rows: element, rowOfChoice: 'i32', ...(weighted && { weights: 'f32' }) },
    uniforms: { count: 'u32', tokens: 'u32', k: 'u32', width: 'u32' },
    code: `
${types}
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i >= u.tokens * u.width) { return; }
  let token = i / u.width;
  var sum = V(0);
  for (var choice = token * u.k; choice < (token + 1u) * u.k; choice++) {
    let row = u32(rowOfChoice[choice]);
    if (row < u.count) { sum += ${weighted ? 'weights[choice] * ' : ''}rows[row * u.width + i % u.width]; }
  }
  y[i] = sum;
}`,
  }));
const combineRows = { weighted: combine(true), plain: combine(false) };

/** `dRows[rowOfChoice[t, j]] = weights[t, j] * dy[t]` and `dWeights[t, j] = rows[...] . dy[t]`; a workgroup a choice. */
const combineRowsGradient = byWidth(({ element, types }) => ({
  name: 'CombineRowsGradient',
  outputs: { dRows: element, dWeights: 'f32' },
  inputs: { dy: element, rows: element, weights: 'f32', rowOfChoice: 'i32' },
  uniforms: { count: 'u32', choices: 'u32', k: 'u32', width: 'u32' },
  code: `
${types}
${SUM_OVER_THREADS}
${MAIN}
  let choice = group;
  if (choice >= u.choices) { return; }
  let row = u32(rowOfChoice[choice]);
  let token = choice / u.k;
  let weight = weights[choice];
  var products = V(0);
  if (row < u.count) {
    for (var j = l; j < u.width; j += ${THREADS}u) {
      let grad = dy[token * u.width + j];
      dRows[row * u.width + j] = weight * grad;
      products += rows[row * u.width + j] * grad;
    }
  }
  let sum = sumOverThreads(l, total(products));
  if (l == 0u) { dWeights[choice] = sum; }
}`,
}));

/** The combine step of a Mixture of Experts. */
export function installRows(recorder: Recorder): void {
  replaceKernel('CombineRows', 'webgpu', ({ inputs }) => {
    const { rows, weights, rowOfChoice } = inputs as Infos;
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const [count, hidden] = rows!.shape as [number, number];
    const { program, width } = combineRows[weights ? 'weighted' : 'plain'](hidden);
    const sizes = { count, tokens, k, width };
    return recorder.run(program, inputs as Infos, { y: [tokens, hidden] }, sizes, threadsFor(tokens * width))[0]!;
  });

  replaceKernel('CombineRowsGradient', 'webgpu', ({ inputs }) => {
    const { rows, rowOfChoice } = inputs as Infos;
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const [count, hidden] = rows!.shape as [number, number];
    const { program, width } = combineRowsGradient(hidden);
    const outputs = { dRows: recorder.zeros([count, hidden]), dWeights: [tokens, k] }; // some rows may be no choice's
    const sizes = { count, choices: tokens * k, k, width };
    return recorder.run(program, inputs as Infos, outputs, sizes, inLine(tokens * k));
  });
}
