import * as tf from '@tensorflow/tfjs-core';
import { kernels } from 'therapeutic-moe';

/**
 * What windows cost a model, block by block.
 *
 * @param {import('therapeutic-moe').model.CausalLm} decoder
 * @param {Int32Array[]} windows each `[blocks * block + 1]`.
 * @param {number} block tokens of a block.
 * @returns {Promise<number[][]>} nats, `[windows][blocks]`.
 */
export async function scoreWindows(decoder, windows, block) {
  const nats = [];
  for (const ids of windows) nats.push(await natsByBlock(decoder, ids, block));
  return nats;
}

async function natsByBlock(decoder, ids, block) {
  const sums = tf.tidy(() => {
    const inputs = tf.tensor2d(ids.subarray(0, -1), [1, ids.length - 1], 'int32');
    const { logits } = decoder.forward(inputs);
    const rows = tf.reshape(logits, [-1, decoder.vocabSize]);
    const loss = kernels.crossEntropy(rows, tf.tensor1d(ids.subarray(1), 'int32'));
    return tf.sum(tf.reshape(loss, [-1, block]), 1);
  });
  try {
    return [...(await sums.data())];
  } finally {
    sums.dispose();
  }
}
