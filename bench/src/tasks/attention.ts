import * as tf from '@tensorflow/tfjs-core';
import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { flashAttention, flashAttentionReference } from '@therapeutic-moe/kernels';
import type { AttentionShape } from '../attention.js';
import type { Timing } from '../comparison.js';
import { measure } from '../measure.js';
import { peakMemory } from '../peak-memory.js';
import { throughDevice } from './through-device.js';

/** Our attention, or the naive form that makes the score matrix, on the same backend and its kernels. */
const forms = { flash: flashAttention, naive: flashAttentionReference } as const;

/**
 * Time and peak memory, forward or with the gradients to q, k and v. Short attention runs first, so that loading code
 * is not counted; the run whose memory is measured is the warm-up of those that are timed.
 */
export async function attentionOf(
  input: AttentionShape & {
    readonly form: keyof typeof forms;
    readonly backend: BackendName;
    readonly repeats: number;
  },
): Promise<Timing> {
  const { kernels } = await useBackend(input.backend);
  const warmUp = await prepare({ ...input, seq: Math.min(64, input.seq) });
  for (let i = 0; i < 3; i++) await warmUp();
  const work = await prepare(input);
  const peakMiB = await peakMemory(work);
  const times = await measure(work, { repeats: input.repeats, warmUp: 0, atLeastMs: 500 });
  return { ...times, ...(peakMiB !== undefined && { peakMiB }), detail: `kernels ${kernels}` };
}

/** Makes the operands, on the device, and returns what is timed. */
async function prepare(input: AttentionShape & { readonly form: keyof typeof forms }): Promise<() => Promise<void>> {
  const { seq, heads, headDim, window, backward } = input;
  const [q, k, v, dy] = [2, 3, 5, 7].map((seed) =>
    tf.randomNormal<tf.Rank.R4>([1, seq, heads, headDim], 0, 1, 'float32', seed),
  ) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  for (const operand of [q, k, v, dy]) await throughDevice(operand);
  const options = { causal: true, scale: headDim ** -0.5, window };
  const attend = (...[q, k, v]: tf.Tensor[]) =>
    forms[input.form](q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, options);
  const compute = backward ? () => tf.grads(attend)([q, k, v], dy) : () => [attend(q, k, v)];
  return async () => {
    const results = compute();
    for (const result of results) await throughDevice(result);
    tf.dispose(results);
  };
}
