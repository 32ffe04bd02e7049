import { findTile, OFFSET } from './grouped-product.js';
import type { Packed } from './packed-weights.js';
import type { Program } from './recorder.js';
import { mainOf, THREADS } from './workgroups.js';

/** Outputs of a workgroup, the parts of a vector: what is read of `x` serves them all. */
export const OUTPUTS = 4;

/** Rows of `x` that share one reading of the weights; their partial sums take 4 KiB of workgroup memory. */
export const FEW = 4;

/**
 * `y[rows of e] = x[rows of e] W[e]^T` for few rows, as in decoding, where reading the weights is all there is to do. A
 * workgroup goes along the packed rows of four outputs, its threads side by side, and adds up in workgroup memory.
 *
 * @param rows of one tile: whose weights are read once.
 */
export function fewRows({ dtype, perWord, inputs, code }: Packed, rows: number): Program {
  const [outputs, tile] = [numbersTo(OUTPUTS), numbersTo(rows)];
  const step = (place: number) => `
    let k${place} = ${perWord}u * word + ${place}u;
    let w${place} = vec4f(${outputs.map((o) => `part(word${o}, ${place}u)`).join(', ')});
    ${tile.map((r) => `sum${r} += select(0.0, x[row${r} + k${place}], k${place} < u.inner) * w${place};`).join('\n    ')}`;
  return {
    name: `FrozenMatMul of ${dtype}, ${rows} rows`,
    outputs: { y: 'f32' },
    inputs: { x: 'f32', offsets: 'i32', ...inputs },
    uniforms: { rows: 'u32', inner: 'u32', columns: 'u32', experts: 'u32', words: 'u32' },
    code: `
${OFFSET}
${code}
var<workgroup> sums: array<vec4f, ${rows * THREADS}>;
${mainOf(THREADS)}
  ${findTile('id.z', rows)}
  let column = ${OUTPUTS}u * group;
  if (column >= u.columns) { return; }
  let words = select(u.words, 0u, expert == u.experts);
  ${outputs.map((o) => `let start${o} = (expert * u.columns + min(column + ${o}u, u.columns - 1u)) * u.words;`).join('\n  ')}
  ${tile.map((r) => `let row${r} = min(first + ${r}u, last - 1u) * u.inner;`).join('\n  ')}
  ${tile.map((r) => `var sum${r} = vec4f(0);`).join(' ')}
  for (var word = l; word < words; word += ${THREADS}u) {
    ${outputs.map((o) => `let word${o} = packed[start${o} + word];`).join('\n    ')}
    ${numbersTo(perWord).map(step).join('')}
  }
  ${tile.map((r) => `sums[${r * THREADS}u + l] = sum${r};`).join('\n  ')}
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    if (l < half) {
      ${tile.map((r) => `sums[${r * THREADS}u + l] += sums[${r * THREADS}u + l + half];`).join('\n      ')}
    }
    workgroupBarrier();
  }
  let row = first + l / ${OUTPUTS}u;
  let output = column + l % ${OUTPUTS}u;
  if (l / ${OUTPUTS}u < ${rows}u && row < last && output < u.columns) {
    var sum = 0.0;
    if (expert < u.experts) {
      sum = sums[l / ${OUTPUTS}u * ${THREADS}u][l % ${OUTPUTS}u] * scaleOf(expert * u.columns + output);
    }
    y[row * u.columns + output] = sum;
  }
}`,
  };
}

function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
