import * as tf from '@tensorflow/tfjs-core';
import { float32Products, matMul } from '@therapeutic-moe/kernels';
import type { LoraConfig } from './lora-config.js';
import type { LoraLayerConfig } from './lora-plan.js';
import { lowRankSvd, orthonormal, type Svd, svd } from './svd.js';

/** What an update starts from when it takes over a part of the base. */
export interface StartFactors {
  /** `[inputSize, r]` */
  readonly a: tf.Tensor2D;
  /** `[r, columns]` */
  readonly b: tf.Tensor2D;
}

/** The whole decomposition of a larger matrix takes an hour and more on the host. */
const LONGEST_WHOLE = 2048;

/** Whether adapters so started read the base. */
export function startsFromBase({ initLoraWeights }: Pick<LoraConfig, 'initLoraWeights'>): boolean {
  return initLoraWeights !== true && initLoraWeights !== 'gaussian';
}

/**
 * The part of a base weight that its adapter takes over, `scale A B`: its largest singular values (PiSSA,
 * arXiv:2404.02948, eq. 2 to 4), or the first columns of Q of a QR decomposition of its transpose, as Hugging Face stores
 * it, and what they make of it (OLoRA, arXiv:2406.01775). As in PEFT, PiSSA's factors hold `1 / scale` of that part and
 * OLoRA's all of it, so OLoRA takes over `scale` times what it decomposes.
 *
 * @param weight `[inputSize, columns]`.
 * @param path of the weight, for messages.
 * @param seed of the random directions of `pissa_niter_K`.
 * @returns factors that the caller disposes.
 * @throws when the rank exceeds a side of the weight, or `pissa` would take hours.
 */
export async function startFromBase(
  weight: tf.Tensor2D,
  { r, scale, initLoraWeights }: LoraLayerConfig,
  path: string,
  seed: number,
): Promise<StartFactors> {
  const shorter = Math.min(...weight.shape);
  if (r > shorter)
    throw new Error(
      `lora: initLoraWeights '${initLoraWeights}' finds no ${r} directions in ${path} [${weight.shape}]; give it a rank of ${shorter} or less by r or rankPattern.`,
    );
  if (initLoraWeights === 'olora') return qrStart(weight, r);
  return halves(await largestOf(weight, r, String(initLoraWeights), path, seed), scale);
}

async function largestOf(weight: tf.Tensor2D, r: number, init: string, path: string, seed: number): Promise<Svd> {
  if (init !== 'pissa') return lowRankSvd(weight, r, Number(init.slice('pissa_niter_'.length)), seed);
  const [rows, columns] = weight.shape;
  if (Math.min(rows, columns) > LONGEST_WHOLE) {
    throw new Error(
      `lora: initLoraWeights 'pissa' decomposes all of ${path} [${rows},${columns}], which takes hours; 'pissa_niter_16' finds its ${r} largest directions in moments. An adapter that PEFT started by 'pissa' needs these very ones: save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain one of it.`,
    );
  }
  return svd({ values: await weight.data<'float32'>(), rows, columns }, r);
}

/** `A = U sqrt(s / scale)` and `B = sqrt(s / scale) V^T`. */
function halves({ u, s, v }: Svd, scale: number): StartFactors {
  const scaled = (vectors: readonly Float64Array[]) =>
    asRows(vectors.map((vector, k) => vector.map((value) => value * Math.sqrt(s[k]! / scale))));
  return tf.tidy(() => ({ a: tf.transpose(scaled(u)), b: scaled(v) }));
}

/** With `W^T = Q R`, the first columns of Q and rows of R: `B = Q_r^T`, `A = R_r^T = W Q_r`. */
async function qrStart(weight: tf.Tensor2D, r: number): Promise<StartFactors> {
  const first = tf.slice(weight, [0, 0], [r, -1]);
  const [values, columns] = [await first.data<'float32'>(), weight.shape[1]];
  first.dispose();
  const rows = Array.from({ length: r }, (_, i) => Float64Array.from(values.subarray(i * columns, (i + 1) * columns)));
  const b = asRows(orthonormal(rows));
  return { a: float32Products(() => matMul(weight, b, false, true)) as tf.Tensor2D, b };
}

function asRows(vectors: readonly Float64Array[]): tf.Tensor2D {
  const size = vectors[0]!.length;
  const values = new Float32Array(vectors.length * size);
  for (const [i, vector] of vectors.entries()) values.set(vector, i * size);
  return tf.tensor2d(values, [vectors.length, size]);
}
