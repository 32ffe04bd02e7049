import * as tf from '@tensorflow/tfjs-core';

/** Waits until the device has computed a tensor, by reading one number of it. */
export async function throughDevice(x: tf.Tensor): Promise<void> {
  const one = tf.tidy(() => tf.slice(tf.reshape(x, [-1]), 0, 1));
  await one.data();
  one.dispose();
}
