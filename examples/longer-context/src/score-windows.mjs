import * as tf from '@tensorflow/tfjs-core';
import { kernels } from 'therapeutic-moe';

/**
 * What a model pays for windows, summed over neighbouring positions.
 *
 * @param {import('therapeutic-moe').model.CausalLm} decoder
 * @param {import('./windows.mjs').Window[]} windows
 * @param {number} bucket positions to a sum; divides the windows' length.
 * @returns {Promise<number[][]>} nats, `[windows][buckets]`.
 */
export async function scoreWindows(decoder, windows, bucket) {
  const scores = [];
  for (const { ids } of windows) scores.push(bucketSums(await natsOf(decoder, ids), bucket));
  return scores;
}

/** Nats of each target, `[length]`. */
async function natsOf(decoder, ids) {
  const loss = tf.tidy(() => {
    const inputs = tf.tensor2d(ids.subarray(0, -1), [1, ids.length - 1], 'int32');
    const { logits } = decoder.forward(inputs);
    return kernels.crossEntropy(tf.reshape(logits, [-1, decoder.vocabSize]), tf.tensor1d(ids.subarray(1), 'int32'));
  });
  try {
    return await loss.data();
  } finally {
    loss.dispose();
  }
}

/** Sums of `bucket` neighbours each. */
export function bucketSums(values, bucket) {
  const sums = new Array(values.length / bucket).fill(0);
  values.forEach((value, position) => {
    sums[Math.floor(position / bucket)] += value;
  });
  return sums;
}
